"""Deep Image Prior: an untrained network fitted to what is known of one picture.

Source: Ulyanov et al. 2018, "Deep Image Prior", its hourglass with skip connections and the settings its supplement
gives for enlarging: 32 channels of fixed noise in, 128 channels throughout, 4 across each skip, Adam at 0.01, the input
shaken in every pass. Differs in the number of levels where a picture is too small for five, and in the paper's Lanczos
filter, for which stands the downsampling that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from reanimate.errors import ConfigError
from reanimate.restore.degradations import Downsampling, downsample
from reanimate.restore.priors import OnPass

_INPUT_SCALE = 0.1  # of the uniform noise that goes in
_SMALLEST = 4  # px at the bottom: batch statistics of fewer positions say nothing


@dataclass(frozen=True, slots=True)
class DipParams:
    """What decides a fit's numbers."""

    steps: int = 1000
    """Passes; stopping early is the regulariser."""
    lr: float = 0.01
    """Adam's step size."""
    channels: int = 128
    skip_channels: int = 4
    input_channels: int = 32
    levels: int = 5
    """At most; the smallest has at least 4 px."""
    shake: float = 0.03
    """Standard deviation of the noise that is added to the input in every pass."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.steps < 0 or self.lr <= 0 or self.shake < 0:
            raise ConfigError("dip", "steps and shake must not be negative and the step size must be positive")
        if min(self.channels, self.input_channels, self.levels) < 1 or self.skip_channels < 0:
            raise ConfigError("dip", "channels and levels must be positive")


class Hourglass(nn.Module):
    """Noise [1, C, R, R] to a picture [1, 3, R, R] in [-1, 1]: down by strides, up by bilinear enlargement."""

    def __init__(self, params: DipParams, resolution: int) -> None:
        super().__init__()
        self.levels = max(1, min(params.levels, (resolution // _SMALLEST).bit_length() - 1))
        wide, narrow = params.channels, params.skip_channels
        for level in range(self.levels):
            before = wide if level else params.input_channels
            down = nn.Sequential(*_convolution(before, wide, 3, stride=2), *_convolution(wide, wide, 3))
            joined = nn.BatchNorm2d(wide + narrow)
            up = nn.Sequential(joined, *_convolution(wide + narrow, wide, 3), *_convolution(wide, wide, 1))
            self.add_module(f"down{level}", down)
            self.add_module(f"up{level}", up)
            if narrow:
                self.add_module(f"skip{level}", nn.Sequential(*_convolution(before, narrow, 1)))
        self.to_picture = nn.Conv2d(wide, 3, 1)
        self.narrow = narrow

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """[1, 3, R, R] for [1, C, R, R]."""
        return torch.sigmoid(self.to_picture(self._level(noise, 0))) * 2 - 1

    def _level(self, x: torch.Tensor, level: int) -> torch.Tensor:
        y: torch.Tensor = self.get_submodule(f"down{level}")(x)
        if level + 1 < self.levels:
            y = self._level(y, level + 1)
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        if self.narrow:
            y = torch.cat([self.get_submodule(f"skip{level}")(x), y], 1)
        joined: torch.Tensor = self.get_submodule(f"up{level}")(y)
        return joined


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    padding = kernel // 2
    return [
        nn.Conv2d(before, after, kernel, stride, padding, padding_mode="reflect" if padding else "zeros"),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.2),
    ]


class Degrade(Protocol):
    """What the picture [1, 3, R, R] of that index suffered."""

    def __call__(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """[1, 3, h, w]."""


@dataclass(frozen=True, slots=True)
class DeepImagePrior:
    """See priors.Prior; every picture is fitted by a network of its own."""

    params: DipParams

    def reconstruct(self, pictures: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior."""
        return self._each(pictures, pictures.shape[-1], lambda x, index: x, on_pass)

    def inpaint(self, pictures: torch.Tensor, hole: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior."""
        holes = hole.expand(len(pictures), -1, -1, -1)
        known = pictures.masked_fill(holes, 0)
        return self._each(
            known, pictures.shape[-1], lambda x, index: x.masked_fill(holes[index : index + 1], 0), on_pass
        )

    def upscale(
        self, small: torch.Tensor, factor: int, how: Downsampling, on_pass: OnPass | None = None
    ) -> torch.Tensor:
        """See Prior."""
        return self._each(small, small.shape[-1] * factor, lambda x, index: downsample(x, factor, how), on_pass)

    def _each(
        self, seen: torch.Tensor, resolution: int, degrade: Degrade,
        on_pass: OnPass | None,
    ) -> torch.Tensor:  # fmt: skip
        """[N, 3, R, R]: what networks draw whose pictures, degraded, are `seen`."""
        each = [
            fit(seen[i : i + 1], resolution, self.params, partial(degrade, index=i), on_pass) for i in range(len(seen))
        ]
        return torch.cat(each)


def fit(
    seen: torch.Tensor,
    resolution: int,
    params: DipParams,
    degrade: Callable[[torch.Tensor], torch.Tensor] = lambda picture: picture,
    on_pass: OnPass | None = None,
    on_loss: Callable[[float], None] | None = None,
) -> torch.Tensor:
    """[1, 3, R, R] the picture that a network draws once its degraded version is near `seen` [1, 3, h, w].

    `on_loss` is told the mean squared error of every pass, in units of [-1, 1] squared. Draws are seeded, and the
    surrounding program's are left alone.
    """
    device = seen.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(params.seed)
        network = Hourglass(params, resolution).to(device)
        noise = torch.rand(1, params.input_channels, resolution, resolution).to(device) * _INPUT_SCALE
        shakes = torch.Generator().manual_seed(params.seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=params.lr)
        for _ in range(params.steps):
            shaken = noise + params.shake * torch.randn(noise.shape, generator=shakes).to(device)
            loss = (degrade(network(shaken)) - seen).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if on_pass is not None:
                on_pass()
            if on_loss is not None:
                on_loss(float(loss.detach()))
        with torch.no_grad():  # statistics of this one picture, as in all the passes
            picture: torch.Tensor = network(noise)
            return picture
