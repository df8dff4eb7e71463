"""What pictures lose, and the plain guesses at it."""

from __future__ import annotations

import pytest
import torch

from reanimate.restore.degradations import bicubic, downsample, enlarge, fill, random_square, scaled

WAYS = ("nearest", "area", "bicubic")


def pictures(side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def ramp(side: int) -> torch.Tensor:
    """Brightness rises by one a px from left to right."""
    return torch.arange(side, dtype=torch.float32).expand(1, 1, side, side).clone()


def test_nearest_takes_the_top_left_of_each_block_as_the_released_code_does() -> None:
    x = pictures()
    assert torch.equal(downsample(x, 4, "nearest"), x[:, :, ::4, ::4])


def test_area_is_the_mean_of_each_block() -> None:
    x = pictures()
    torch.testing.assert_close(downsample(x, 4, "area")[0, 0, 0, 1], x[0, 0, :4, 4:8].mean())


@pytest.mark.parametrize("how", WAYS)
def test_factor_one_changes_nothing(how: str) -> None:
    assert torch.equal(downsample(pictures(), 1, how), pictures())


@pytest.mark.parametrize("how", WAYS)
def test_factor_that_does_not_divide_is_refused(how: str) -> None:
    with pytest.raises(ValueError, match="3 does not divide 16x16"):
        downsample(pictures(), 3, how)


@pytest.mark.parametrize("how", WAYS)
def test_enlargement_stands_where_the_samples_were_taken(how: str) -> None:
    """A ramp that is made small and large again has not moved."""
    again = bicubic(downsample(ramp(64), 8, how), 8, how)
    middle = slice(20, 44)
    torch.testing.assert_close(again[..., middle, middle], ramp(64)[..., middle, middle], atol=0.5, rtol=0)


@pytest.mark.parametrize("how", WAYS)
def test_downsampling_an_enlargement_gives_the_small_picture_again(how: str) -> None:
    small = pictures(8)
    torch.testing.assert_close(downsample(enlarge(small, 4, how), 4, how), small, atol=0.03, rtol=0)


def test_downsampling_can_be_differentiated() -> None:
    for how in WAYS:
        x = pictures().requires_grad_(True)
        downsample(x, 4, how).sum().backward()
        assert x.grad is not None and x.grad.abs().sum() > 0


def test_fill_leaves_what_is_known_and_takes_the_rest_from_around_it() -> None:
    x = torch.full((1, 3, 20, 30), 0.25)
    x[..., 15:] = 0.75
    hole = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    hole[..., 5:12, 3:9] = True
    broken = x.masked_fill(hole, -1)
    filled = fill(broken, hole)
    assert torch.equal(filled.masked_fill(hole, 0), x.masked_fill(hole, 0))
    torch.testing.assert_close(filled[..., 6:11, 4:8], x[..., 6:11, 4:8], atol=0.02, rtol=0)


def test_fill_of_a_hole_between_two_shades_lies_between_them() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[..., 16:] = 1
    hole = torch.zeros_like(x, dtype=torch.bool)
    hole[..., 8:24, 8:24] = True
    filled = fill(x, hole)
    assert filled.min() >= 0 and filled.max() <= 1
    assert filled[0, 0, 16, 9] < 0.35 < 0.65 < filled[0, 0, 16, 22]


@pytest.mark.parametrize("shape", [(16, 16), (17, 5), (1, 9), (33, 64)])
def test_fill_of_nothing_known_is_finite_and_of_no_hole_is_the_same(shape: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *shape)
    hole = torch.ones(1, 1, *shape, dtype=torch.bool)
    assert torch.equal(fill(x, hole), torch.zeros_like(x))
    assert torch.equal(fill(x, ~hole), x)


def test_random_square_is_the_same_for_a_seed_and_lies_in_the_middle_half() -> None:
    places = set()
    for seed in range(50):
        hole = random_square(64, 16, seed)
        assert torch.equal(hole, random_square(64, 16, seed))
        rows, columns = (hole[0, 0].any(i).nonzero().ravel() for i in (1, 0))
        for places_of in (rows, columns):
            assert len(places_of) == 16 and places_of[0] >= 16 and places_of[-1] < 48
        assert hole.sum() == 256
        places.add((int(rows[0]), int(columns[0])))
    assert len(places) > 30


def test_lengths_scale_with_the_picture() -> None:
    assert [scaled(64, side) for side in (1024, 256, 64, 32, 16)] == [256, 64, 16, 8, 4]
