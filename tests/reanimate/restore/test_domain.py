"""Distance from a model's domain: of its own pictures small, of others large, of walls not taken for nearness."""

from __future__ import annotations

from dataclasses import replace

import torch
from conftest import tiny_generator

from reanimate.inversion.invert import PRESETS, Inverter
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.restore.domain import distance


def test_own_pictures_are_nearer_than_noise_and_walls_by_their_share() -> None:
    generator = tiny_generator()
    draws = torch.Generator().manual_seed(3)
    own = generator.synthesis(generator.mapping(torch.randn(1, generator.z_dim, generator=draws)))
    noise = torch.rand(1, 3, 16, 16, generator=draws) * 2 - 1
    wall = 0.3 + 0.02 * noise
    inverter = Inverter(generator, None, MultiScaleLoss(), replace(PRESETS["fast"], first_steps=100))
    found = distance(inverter, torch.cat([own, noise, wall]))
    assert found.loss[0] < 0.3 * found.loss[1]
    assert found.share[0] < 0.3 * found.share[1]
    assert found.share[0] < 0.3 * found.share[2], "there is little to miss in a wall, and that is missed"


def test_share_of_one_is_what_the_mean_colour_leaves() -> None:
    generator = tiny_generator()
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    inverter = Inverter(generator, None, MultiScaleLoss(), replace(PRESETS["fast"], first_steps=0))
    found = distance(inverter, picture)
    loss = MultiScaleLoss()
    flat = loss(picture.mean((2, 3), keepdim=True).expand_as(picture), loss.prepare(picture))
    torch.testing.assert_close(found.share, found.loss / flat)
