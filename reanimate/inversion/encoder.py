"""A small residual network from a crop to W+: one w for the whole picture plus a small offset per layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of an encoder."""

    resolution: int
    """Side of the crops as it sees them, px: R, or a half or quarter of it for a generator that has grown since."""
    num_ws: int
    """L."""
    w_dim: int
    """D."""
    channel_base: int = 2048
    """Channels at a resolution times that resolution, between 64 and `channel_max`."""
    channel_max: int = 256
    hidden: int = 512
    """Width of the layer that the offsets are read from."""

    def channels(self, resolution: int) -> int:
        """Channels of the block that works at a resolution."""
        return max(64, min(self.channel_base // resolution, self.channel_max))

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers'."""
        layers = sum(9 * self.channels(2**i) ** 2 for i in range(2, self.resolution.bit_length() - 1))
        return layers + 16 * self.channels(4) * (self.w_dim + self.hidden) + self.hidden * self.num_ws * self.w_dim


class _Block(nn.Module):
    """Two 3x3 convolutions, the second halving the resolution, beside an averaged shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, stride=2)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.leaky_relu(self.conv0(x), 0.2)
        y = functional.leaky_relu(self.conv1(y), 0.2)
        shortcut: torch.Tensor = self.skip(functional.avg_pool2d(x, 2))
        return (y + shortcut) / math.sqrt(2)


class Encoder(nn.Module):
    """Crops [N, 3, R, R] in [-1, 1] to codes [N, L, D]."""

    w_mean: torch.Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        start = config.resolution // 2  # half resolution from the first layer on: most of the cost lies at full size
        self.stem = nn.Conv2d(12, config.channels(start), 3, padding=1)
        sizes = [start // 2**i for i in range(start.bit_length()) if start // 2**i >= 4]
        self.blocks = nn.Sequential(*(_Block(config.channels(a), config.channels(b)) for a, b in pairwise(sizes)))
        self.last = nn.Conv2d(config.channels(4), config.channels(4), 3, padding=1)
        features = config.channels(4) * 16
        self.to_w = nn.Linear(features, config.w_dim)
        self.to_hidden = nn.Linear(features, config.hidden)
        self.to_offsets = nn.Linear(config.hidden, config.num_ws * config.w_dim)
        nn.init.normal_(self.to_offsets.weight, std=1e-3)  # begins as one w for all layers
        nn.init.zeros_(self.to_offsets.bias)
        self.register_buffer("w_mean", torch.zeros(config.w_dim))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """[N, L, D]."""
        w, offsets = self.parts(pictures)
        return w.unsqueeze(1) + offsets

    def parts(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """W [N, D] and offsets [N, L, D]."""
        w, hidden = self.seen(pictures)
        return w, self.to_offsets(hidden).view(-1, self.config.num_ws, self.config.w_dim)

    def seen(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """W [N, D], and what the offsets are read from, [N, hidden]."""
        if pictures.shape[-1] > self.config.resolution:
            pictures = functional.avg_pool2d(pictures, pictures.shape[-1] // self.config.resolution)
        x = functional.leaky_relu(self.stem(functional.pixel_unshuffle(pictures, 2)), 0.2)
        x = functional.leaky_relu(self.last(self.blocks(x)), 0.2).flatten(1)
        return self.to_w(x) + self.w_mean, functional.leaky_relu(self.to_hidden(x), 0.2)
