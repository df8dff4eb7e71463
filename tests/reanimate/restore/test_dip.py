"""Deep Image Prior: fits structure before noise, is seeded, and leaves other draws alone."""

from __future__ import annotations

import pytest
import torch

from reanimate.errors import ConfigError
from reanimate.restore.degradations import bicubic, downsample
from reanimate.restore.dip import DeepImagePrior, DipParams, Hourglass, fit

SMALL = DipParams(steps=60, channels=16, input_channels=8, levels=3)


def smooth(side: int = 32) -> torch.Tensor:
    """A picture with an edge and a slope."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return torch.stack([x, y, torch.where(x**2 + y**2 < 0.4, 0.8, -0.6)])[None] * 0.9


def test_structure_is_fitted_before_noise() -> None:
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    curves: list[list[float]] = []
    for target in (smooth(), noise):
        curves.append([])
        fit(target, 32, SMALL, on_loss=curves[-1].append)
    assert all(len(curve) == 60 for curve in curves)
    structure, unstructured = (curve[-1] / curve[0] for curve in curves)
    assert structure < 0.1 < 0.5 < unstructured


def test_fit_is_seeded_and_leaves_the_programs_draws_alone() -> None:
    params = DipParams(steps=2, channels=4, input_channels=2, levels=2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a = fit(smooth(16), 16, params)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(fit(smooth(16), 16, params), a)
    assert not torch.equal(fit(smooth(16), 16, DipParams(2, channels=4, input_channels=2, levels=2, seed=1)), a)


def test_hole_is_filled_without_being_looked_at() -> None:
    picture, hole = smooth(), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hole[..., 12:18, 12:18] = True
    prior = DeepImagePrior(SMALL)
    a, b = (prior.inpaint(picture.masked_fill(hole, value), hole) for value in (-1.0, 1.0))
    assert torch.equal(a, b)
    assert ((a - picture).abs() * hole).sum() / hole.sum() / 3 < 0.35


def test_enlargement_becomes_the_small_picture() -> None:
    small = downsample(smooth(), 4, "area")
    large = DeepImagePrior(SMALL).upscale(small, 4, "area")
    assert large.shape == (1, 3, 32, 32)
    assert (downsample(large, 4, "area") - small).square().mean() < 0.1 * small.square().mean()
    assert large.abs().max() <= 1
    assert (large - bicubic(small, 4, "area")).abs().max() > 0.01


def test_every_pass_is_counted_for_every_picture() -> None:
    passes: list[int] = []
    params = DipParams(steps=3, channels=4, input_channels=2, levels=1)
    pictures = torch.cat([smooth(16), -smooth(16)])
    made = DeepImagePrior(params).reconstruct(pictures, lambda: passes.append(1))
    assert len(passes) == 6
    alone = DeepImagePrior(params).reconstruct(pictures[1:])
    torch.testing.assert_close(made[1:], alone), "each is fitted by itself"


@pytest.mark.parametrize(("side", "levels"), [(8, 1), (16, 2), (64, 4), (256, 5)])
def test_bottom_of_the_hourglass_has_at_least_four_px(side: int, levels: int) -> None:
    assert Hourglass(DipParams(channels=4, input_channels=2), side).levels == levels


def test_hourglass_of_the_paper_has_as_many_weights() -> None:
    """Five levels of 128 channels, skips of 4, 32 channels in, one bias a channel."""
    network = Hourglass(DipParams(), 256)
    first = 32 * 128 * 9 + 128 * 128 * 9 + 32 * 4
    others = 4 * (2 * 128 * 128 * 9 + 128 * 4)
    up = 5 * (132 * 128 * 9 + 128 * 128)
    weights = sum(p.numel() for name, p in network.named_parameters() if p.ndim == 4)
    assert weights == first + others + up + 128 * 3


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0}, {"channels": 0}, {"levels": 0}, {"shake": -1.0}])
def test_what_cannot_be_run_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        DipParams(**wrong)  # type: ignore[arg-type]
