"""A loss sees what is left of a picture, and nothing else."""

from __future__ import annotations

import pytest
import torch

from reanimate.inversion.losses import MultiScaleLoss
from reanimate.restore.degradations import downsample, random_square
from reanimate.restore.losses import DownsampledLoss, MaskedLoss


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_what_lies_in_the_hole_does_not_matter() -> None:
    holes = torch.cat([random_square(16, 4, seed) for seed in (1, 2)])
    loss, a, b = MaskedLoss(MultiScaleLoss(), holes), pictures(0), pictures(1)
    before = loss(a, loss.prepare(b))
    assert torch.equal(loss(a.masked_fill(holes, 0.3), loss.prepare(b.masked_fill(holes, -0.7))), before)
    assert torch.equal(loss(torch.where(holes, a, b), loss.prepare(b)), torch.zeros(2))
    assert (before > 0).all()


def test_gradient_is_zero_in_the_hole_alone() -> None:
    hole = random_square(16, 4, 0)
    loss, a = MaskedLoss(MultiScaleLoss(), hole), pictures(0).requires_grad_(True)
    loss(a, loss.prepare(pictures(1))).sum().backward()
    assert a.grad is not None
    size = a.grad.abs().sum(1, keepdim=True)
    assert (size[hole.expand_as(size)] == 0).all()
    assert (size[~hole.expand_as(size)] > 0).all()


@pytest.mark.parametrize("how", ["nearest", "area", "bicubic"])
def test_pictures_that_become_the_same_are_the_same(how: str) -> None:
    loss, a, b = DownsampledLoss(MultiScaleLoss(), 4, how), pictures(0), pictures(1)
    small = downsample(a, 4, how)
    other = a + (b - _again(b, how))  # what downsampling loses is exchanged
    assert (downsample(other, 4, how) - small).abs().max() < 0.2
    assert (loss(a, loss.prepare(b)) > 10 * loss(a, loss.prepare(a))).all()
    assert torch.equal(loss(a, loss.prepare(a)), torch.zeros(2))


def _again(x: torch.Tensor, how: str) -> torch.Tensor:
    from reanimate.restore.degradations import enlarge

    return enlarge(downsample(x, 4, how), 4, how)


def test_only_the_sampled_pixels_matter_to_nearest() -> None:
    loss, a, b = DownsampledLoss(MultiScaleLoss(), 4, "nearest"), pictures(0), pictures(1)
    before = loss(a, loss.prepare(b))
    changed = a.clone()
    changed[..., 1::4, :] = 0
    changed[..., :, 3::4] = 0
    assert torch.equal(loss(changed, loss.prepare(b)), before)
