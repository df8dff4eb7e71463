from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.images import to_pictures, to_tensor
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.tune import BATCH, kernels, tune
from reanimate.types import UInt8


class Poses:
    """Codes on a line from one, and pictures that the generator does not draw of them."""

    def __init__(self, generator: StyleGAN2, count: int = 6) -> None:
        self.generator = generator
        draw = torch.Generator().manual_seed(3)
        self.rest, away = generator.mapping(torch.randn(2, 8, generator=draw)).detach()
        self.places = torch.linspace(0, 1, count)[:, None]
        self.start = (away - self.rest)[None]
        with torch.no_grad():
            pictures = generator.synthesis(self.codes(self.start, torch.arange(count)))
        self.targets: UInt8 = to_pictures((0.8 * pictures + 0.1).roll(2, 3))

    def codes(self, directions: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        return self.rest + torch.tensordot(self.places[chosen], directions, 1)

    def tuned(self, passes: int, *, fixed: bool = False) -> torch.Tensor:
        self.done: list[None] = []
        how = (self.codes, self.start, 1.0, self.targets, passes, fixed, lambda: self.done.append(None))
        return tune(self.generator, MultiScaleLoss(), *how)

    def losses(self, directions: torch.Tensor) -> torch.Tensor:
        loss = MultiScaleLoss()
        with torch.no_grad():
            drawn = self.generator.synthesis(self.codes(directions, torch.arange(len(self.targets))))
            return loss(drawn, loss.prepare(to_tensor(self.targets)))


def test_every_pose_is_drawn_more_like_its_picture(generator: StyleGAN2) -> None:
    poses = Poses(generator)
    before = poses.losses(poses.start)
    directions = poses.tuned(60)
    assert (poses.losses(directions) < 0.8 * before).all() and len(poses.done) == 60
    assert not torch.equal(directions, poses.start), "codes are learnt along"


def test_the_one_at_rest_is_drawn_most_often(generator: StyleGAN2) -> None:
    poses, seen = Poses(generator, 30), np.zeros(30, int)
    plain = poses.codes

    def codes(directions: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        seen[chosen.numpy()] += 1
        return plain(directions, chosen)

    poses.codes = codes  # type: ignore[method-assign]
    poses.tuned(80)
    assert seen[0] > 3 * seen[1:].mean() and seen[1:].min() > 0
    assert seen.sum() == 80 * BATCH


def test_nothing_but_kernels_is_tuned_and_they_are_frozen_again(generator: StyleGAN2) -> None:
    before = copy.deepcopy(generator.state_dict())
    Poses(generator).tuned(3)
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(kernels(generator))
    assert not any(weight.requires_grad or weight.grad is not None for weight in kernels(generator).values())


def test_fixed_kernels_stay_and_codes_alone_are_learnt(generator: StyleGAN2) -> None:
    before, poses = copy.deepcopy(generator.state_dict()), Poses(generator)
    was = poses.losses(poses.start)
    directions = poses.tuned(60, fixed=True)
    assert poses.losses(directions)[1:].mean() < 0.95 * was[1:].mean()
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("count", [BATCH - 1, BATCH + 1])
def test_tuning_again_gives_the_same_to_the_bit_also_for_fewer_poses_than_a_pass_takes(
    generator: StyleGAN2, count: int
) -> None:
    first, second = Poses(generator, count), Poses(copy.deepcopy(generator), count)
    np.testing.assert_array_equal(first.tuned(5), second.tuned(5))
    pairs = zip(first.generator.parameters(), second.generator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
