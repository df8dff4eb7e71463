"""Held colour: the mean stays, and nothing else does more than it must."""

from __future__ import annotations

import torch

from reanimate.colour import ColourHold
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.images import to_pictures


def codes(generator: StyleGAN2, count: int = 6) -> torch.Tensor:
    torch.manual_seed(1)
    middle = generator.mapping(torch.randn(1, 8))
    return middle + 0.1 * torch.randn(count, *middle.shape[1:])


def test_pictures_keep_the_mean_colour_of_the_code_they_are_held_to(generator: StyleGAN2) -> None:
    ws = codes(generator)
    hold = ColourHold(generator, ws.mean(0, keepdim=True))
    wanted = to_pictures(generator.synthesis(ws.mean(0, keepdim=True))).mean((1, 2))
    apart = [abs(to_pictures(generator.synthesis(these)).mean((1, 2)) - wanted).max() for these in (ws, hold(ws))]
    assert apart[0] > 2
    assert apart[1] < 1


def test_code_that_has_the_colour_is_left(generator: StyleGAN2) -> None:
    ws = codes(generator, 1)
    assert (ColourHold(generator, ws)(ws) - ws).abs().max() < 1e-4


def test_codes_move_no_farther_than_colour_needs(generator: StyleGAN2) -> None:
    ws = codes(generator)
    held = ColourHold(generator, ws.mean(0, keepdim=True))(ws)
    assert (held - ws).norm() < 0.5 * (ws - ws.mean(0)).norm()
