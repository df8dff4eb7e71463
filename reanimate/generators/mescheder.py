"""The residual generators of GAN_stability in plain PyTorch: no styles, only z and a class.

Source: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import LatentGenerator
from reanimate.generators.protocol import Noise

Variant = Literal["resnet", "resnet2", "resnet3", "resnet4"]
RESIDUAL = 0.1  # share of a block's own output
_BLOCKS = {"resnet": 1, "resnet2": 2, "resnet3": 1, "resnet4": 1}  # per stage
_KERNEL = {"resnet": 3, "resnet2": 3, "resnet3": 7, "resnet4": 7}  # of the last convolution
_NORMALISED = ("resnet", "resnet2")  # whose class embedding is brought to unit length


@dataclass(frozen=True, slots=True)
class MeschederConfig:
    """Sizes of one of the official variants."""

    resolution: int
    """R, px."""
    channels: tuple[int, ...]
    """Channels that the first stage is given, then those that each stage returns."""
    variant: Variant
    z_dim: int = 256
    embed_size: int = 256
    """Width of a class's embedding."""
    c_dim: int = 0
    """Classes; 0 for one alone."""
    label: int = 0
    """The class that is drawn unless the codes bring one along."""

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        if len(self.channels) < 2:
            raise ValueError("a generator has at least one stage")
        if self.start < 1 or self.start << self.doublings != self.resolution:
            raise ValueError(f"{self.doublings} doublings do not lead to {self.resolution} px")
        if not 0 <= self.label < max(self.c_dim, 1):
            raise ValueError(f"there is no class {self.label} among {self.c_dim}")

    @property
    def doublings(self) -> int:
        """How often the resolution doubles: between the stages, and after the last in `resnet3`."""
        return len(self.channels) - (1 if self.variant == "resnet3" else 2)

    @property
    def start(self) -> int:
        """Side of the first stage, px."""
        return self.resolution >> self.doublings

    @property
    def num_ws(self) -> int:
        """One code: z."""
        return 1

    @property
    def w_dim(self) -> int:
        """The width of z."""
        return self.z_dim

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers'."""
        blocks = sum(9 * min(a, b) * (a + b) for a, b in pairwise(self.channels))
        return blocks + self.channels[0] * self.start**2 * (self.z_dim + self.embed_size)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, activations first."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = min(in_channels, out_channels)
        self.conv_0 = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.conv_1 = nn.Conv2d(hidden, out_channels, 3, padding=1)
        self.conv_s = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C', H, W] for [N, C, H, W]."""
        y = self.conv_1(_activate(self.conv_0(_activate(x))))
        shortcut = x if self.conv_s is None else self.conv_s(x)
        return torch.add(shortcut, y, alpha=RESIDUAL)


class Mescheder(LatentGenerator):
    """A generator of GAN_stability; see protocol.Generator."""

    def __init__(self, config: MeschederConfig) -> None:
        super().__init__(config, config.c_dim)
        self.config = config
        self.embedding = nn.Embedding(max(config.c_dim, 1), config.embed_size)
        self.fc = nn.Linear(config.z_dim + config.embed_size, config.channels[0] * config.start**2)
        self.stages = nn.ModuleList()
        for before, after in pairwise(config.channels):
            widths = [before, *[after] * _BLOCKS[config.variant]]
            self.stages.append(nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise(widths))))
        kernel = _KERNEL[config.variant]
        self.conv_img = nn.Conv2d(config.channels[-1], 3, kernel, padding=kernel // 2)

    def synthesis(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] for z as codes [N, 1, z_dim]; there is no noise."""
        del noise_mode
        z, c = ws[:, 0].tensor_split([self.z_dim], 1)
        embedded = c @ self.embedding.weight if c.shape[1] else self.embedding.weight[[self.config.label] * len(z)]
        if self.config.variant in _NORMALISED:
            embedded = embedded / embedded.norm(dim=1, keepdim=True)
        x = self.fc(torch.cat([z, embedded], 1))
        x = x.view(len(z), -1, self.config.start, self.config.start)
        for i, stage in enumerate(self.stages):
            x = stage(x if i == 0 else functional.interpolate(x, scale_factor=2))
        if x.shape[-1] < self.resolution:  # resnet3 doubles once more
            x = functional.interpolate(x, scale_factor=2)
        return torch.tanh(self.conv_img(_activate(x)))


def _activate(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.2)
