"""Pictures enlarged, filtered and reduced, with zeros around them and any filter.

A filter [K, K] is applied to every channel by one depthwise convolution. On a CPU that is faster than two passes with
a filter of one axis, for the 4 to 12 taps that are met here.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def upsample(x: torch.Tensor, fir: torch.Tensor, up: int, before: int, after: int) -> torch.Tensor:
    """[N, C, H', W'] with H' = up · H + before + after - K + 1: `up` - 1 zeros after each pixel, `before` zeros above
    and left and `after` zeros below and right (cropped where negative), then convolved with `up` ² · `fir`.

    The zeros are never made: a transposed convolution gives the same sum, of which the rim is cut.
    """
    taps, channels = len(fir), x.shape[1]
    first, last = taps - 1 - before, taps - up - after  # rows of the whole sum that are not wanted
    both = max(0, min(first, last))
    weight = (fir * up**2).to(x.dtype).expand(channels, 1, -1, -1)
    x = functional.conv_transpose2d(x, weight, stride=up, padding=both, groups=channels)
    return _padded(x, both - first, both - last)


def convolve(x: torch.Tensor, fir: torch.Tensor, before: int = 0, after: int = 0, step: int = 1) -> torch.Tensor:
    """[N, C, H', W'] with zeros put around it as in `upsample`, convolved with `fir`; of it every `step`-th pixel."""
    channels = x.shape[1]
    both = max(0, min(before, after))
    turned = fir.flip(0, 1).to(x.dtype)  # torch's convolution does not turn the filter round
    weight = turned.expand(channels, 1, -1, -1)
    x = _padded(x, before - both, after - both)
    return functional.conv2d(x, weight, stride=step, padding=both, groups=channels)


def _padded(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    return functional.pad(x, (before, after, before, after)) if before or after else x
