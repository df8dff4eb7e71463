from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from reanimate.generators.resampling import convolve, upsample


def resampled(
    x: torch.Tensor, fir: torch.Tensor, up: int = 1, down: int = 1, before: int = 0, after: int = 0
) -> torch.Tensor:
    """The definition: zeros between the pixels and around them, a convolution, every `down`-th pixel."""
    pictures = []
    for plane in x.flatten(0, 1).numpy():
        wide = np.zeros((plane.shape[0] * up, plane.shape[1] * up))
        wide[::up, ::up] = plane
        wide = np.pad(wide, ((max(before, 0), max(after, 0)),) * 2)
        rows = slice(max(-before, 0), len(wide) - max(-after, 0))
        columns = slice(max(-before, 0), wide.shape[1] - max(-after, 0))
        pictures.append(convolve2d(wide[rows, columns], fir.numpy() * up**2, "valid")[::down, ::down])
    return torch.from_numpy(np.stack(pictures)).view(*x.shape[:2], *pictures[0].shape)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


@pytest.mark.parametrize("taps", [1, 3, 4, 8])
@pytest.mark.parametrize("up", [1, 2, 4])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 1), (1, 2), (5, 5), (-1, 3), (3, -2), (-2, -1), (9, 0)])
def test_upsampling_is_filtering_a_picture_with_zeros_between_its_pixels(
    taps: int, up: int, before: int, after: int
) -> None:
    x, fir = random(2, 3, 12, 11), random(taps, taps)
    assert torch.allclose(upsample(x, fir, up, before, after), resampled(x, fir, up, 1, before, after), atol=1e-10)


@pytest.mark.parametrize("taps", [1, 3, 4])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 1), (1, 2), (3, 3), (-1, 2), (2, -1), (-1, -1)])
def test_convolving_turns_the_filter_round(taps: int, step: int, before: int, after: int) -> None:
    x, fir = random(2, 3, 9, 8), random(taps, taps)
    wanted = resampled(x, fir, 1, step, before, after)
    assert torch.allclose(convolve(x, fir, before, after, step), wanted, atol=1e-10)
