from __future__ import annotations

import copy

import torch

from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.tune import BATCH, kernels, tune


def poses(generator: StyleGAN2, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes, and pictures that the generator does not draw of them."""
    draw = torch.Generator().manual_seed(3)
    codes = generator.mapping(torch.randn(count, 8, generator=draw))
    with torch.no_grad():
        pictures = generator.synthesis(codes)
    return codes.detach(), (0.8 * pictures + 0.1).roll(2, 3)


def losses(generator: StyleGAN2, codes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss = MultiScaleLoss()
    with torch.no_grad():
        return loss(generator.synthesis(codes), loss.prepare(targets))


def test_every_pose_is_drawn_more_like_its_picture_and_the_first_most_of_all(generator: StyleGAN2) -> None:
    codes, targets = poses(generator)
    before = losses(generator, codes, targets)
    done: list[None] = []
    tune(generator, MultiScaleLoss(), codes, targets, 60, lambda: done.append(None))
    share = losses(generator, codes, targets) / before
    assert (share < 0.9).all() and len(done) == 60
    assert share[0] == share.min(), "it is in every pass"


def test_nothing_but_kernels_is_tuned_and_they_are_frozen_again(generator: StyleGAN2) -> None:
    before = copy.deepcopy(generator.state_dict())
    tune(generator, MultiScaleLoss(), *poses(generator), 3, lambda: None)
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(kernels(generator))
    assert not any(weight.requires_grad or weight.grad is not None for weight in kernels(generator).values())


def test_tuning_again_gives_the_same_to_the_bit_also_for_fewer_poses_than_a_pass_takes(generator: StyleGAN2) -> None:
    codes, targets = poses(generator, BATCH - 1)
    other = copy.deepcopy(generator)
    for one in (generator, other):
        tune(one, MultiScaleLoss(), codes, targets, 5, lambda: None)
    assert all(torch.equal(a, b) for a, b in zip(generator.parameters(), other.parameters(), strict=True))
