"""What pictures lose: holes and pixels; and the plain guesses at what was lost.

A hole is a mask [N, 1, H, W] that is True where nothing is known.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional

Downsampling = Literal["nearest", "area", "bicubic"]
BLACK = -1.0
CONSISTENCY_ROUNDS = 8  # of putting back what an enlargement lost; bicubic's error falls about threefold in each


def downsample(pictures: torch.Tensor, factor: int, how: Downsampling) -> torch.Tensor:
    """[N, C, H/factor, W/factor] of pictures [N, C, H, W]: the top left of each block, its mean, or bicubic without
    aliasing.

    Raises:
        ValueError: the factor does not divide the sides.
    """
    height, width = pictures.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"{factor} does not divide {height}x{width}")
    if factor == 1:
        return pictures
    if how == "nearest":
        return pictures[..., ::factor, ::factor]
    if how == "area":
        return functional.avg_pool2d(pictures, factor)
    size = (height // factor, width // factor)
    return functional.interpolate(pictures, size=size, mode="bicubic", antialias=True)


def bicubic(small: torch.Tensor, factor: int, how: Downsampling) -> torch.Tensor:
    """[N, C, H·factor, W·factor] by cubic convolution, each sample standing where `how` took it from."""
    offset = 0.0 if how == "nearest" else 0.5
    axes = []
    for side in small.shape[-2:]:
        at = (torch.arange(side * factor, device=small.device) + offset) / factor - offset  # in px of the small one
        axes.append((2 * at + 1) / side - 1)
    y, x = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([x, y], -1).expand(len(small), -1, -1, -1)
    return functional.grid_sample(small, grid, mode="bicubic", padding_mode="border", align_corners=False)


def enlarge(small: torch.Tensor, factor: int, how: Downsampling) -> torch.Tensor:
    """The bicubic enlargement, corrected until downsampling it gives `small` again."""
    large = bicubic(small, factor, how)
    for _ in range(CONSISTENCY_ROUNDS):
        large = large + bicubic(small - downsample(large, factor, how), factor, how)
    return large


def agree(drawn: torch.Tensor, small: torch.Tensor, factor: int, how: Downsampling) -> torch.Tensor:
    """Pictures [N, C, H, W] with what they lack of `small` added: made small, they are it."""
    return drawn + enlarge(small - downsample(drawn, factor, how), factor, how)


def fill(values: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Values [N, C, H, W] with holes [N, 1, H, W] filled smoothly from around them; the rest stays as it is.

    Each px of a hole is the mean of what is known in the smallest block of 2, 4, 8, … px that holds anything, blocks
    being enlarged linearly. Where nothing at all is known, the result is 0.
    """
    known = (~hole).to(values.dtype)
    height, width = values.shape[-2:]
    if not hole.any() or min(height, width) < 2:
        return torch.where(hole, 0.0, values) if min(height, width) < 2 else values
    padding = (0, width % 2, 0, height % 2)
    share = functional.avg_pool2d(functional.pad(known, padding), 2)
    sums = functional.avg_pool2d(functional.pad(values * known, padding), 2)
    coarse = fill(sums / share.clamp_min(1e-6), share == 0)
    smooth = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(hole, smooth[..., :height, :width], values)


def join(drawn: torch.Tensor, pictures: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 3, H, W] with what is drawn in their holes [N, 1, H, W]; elsewhere they stay as they are.

    What separates the two around a hole (a shade, a tone) is taken smoothly into it, so that there is no edge.
    """
    return torch.where(hole, drawn + fill(pictures - drawn, hole), pictures)


def random_square(resolution: int, side: int, seed: int) -> torch.Tensor:
    """A hole [1, 1, R, R]: a square of `side` px somewhere in the middle half of the picture.

    Source: the masks of Gabbay & Hoshen 2019's released code.
    """
    first, last = resolution // 4, max(resolution // 4, 3 * resolution // 4 - side)
    draws = torch.Generator().manual_seed(seed)
    top, left = (int(v) for v in torch.randint(first, last + 1, (2,), generator=draws))
    hole = torch.zeros(1, 1, resolution, resolution, dtype=torch.bool)
    hole[..., top : top + side, left : left + side] = True
    return hole


def scaled(length: int, resolution: int, reference: int = 256) -> int:
    """A length in px at the paper's 256 px, at another resolution."""
    return max(1, math.floor(length * resolution / reference + 0.5))
