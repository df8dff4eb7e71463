"""The progressively grown generator in plain PyTorch, and what StyleGAN1 takes over from it.

Source: Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", and its
released code. Differs in that weights hold their run-time gain, and in that a doubling convolution is always one
transposed convolution with 4x4 taps, which is the same sum as doubling every pixel before a 3x3 convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import LatentGenerator, check_label, normalized, one_hot
from reanimate.generators.protocol import Noise

SQRT2 = math.sqrt(2)
SMALLEST = 8  # px: what has not grown at all is no progressively grown generator
Activation = Literal["lrelu", "relu"]
LayerKind = Literal["dense", "double", "plain"]


@dataclass(frozen=True, slots=True)
class PGGANConfig:
    """Sizes of a progressively grown generator."""

    resolution: int
    """R, a power of two, px."""
    channels: tuple[int, ...]
    """Channels of the layers of each block, at 4, 8, … R px."""
    z_dim: int = 512
    c_dim: int = 0
    label: int = 0
    """The class that is drawn unless the codes bring one along."""
    normalize_z: bool = True
    activation: Activation = "lrelu"
    pixel_norm: bool = True
    epsilon: float = 1e-8
    """Of pixel norm."""
    lod: float = 0.0
    """Doublings of which the picture is still short; see `grown`."""

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        check_growth(self.resolution, self.channels, self.lod)
        check_label(self.label, self.c_dim)

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
        return sum(9 * c * c for c in self.channels) + 16 * self.channels[0] * (self.z_dim + self.c_dim)


def check_growth(resolution: int, channels: Sequence[int], lod: float) -> None:
    """Refuse sizes that growing from 4 px does not lead to.

    Raises:
        ValueError: it does not.
    """
    if resolution < SMALLEST or resolution & (resolution - 1):
        raise ValueError(f"resolution {resolution} is not a power of two from {SMALLEST} up")
    if len(channels) != len(block_resolutions(resolution)):
        raise ValueError(f"{len(channels)} blocks do not lead from 4 to {resolution} px")
    if not 0 <= lod <= len(channels) - 1:
        raise ValueError(f"lod {lod} is not from 0 to {len(channels) - 1}")


def block_resolutions(resolution: int) -> list[int]:
    """4, 8, … `resolution`."""
    return [2**i for i in range(2, resolution.bit_length())]


def drawn(resolution: int, lod: float) -> list[tuple[int, int]]:
    """(lod, px) of the blocks that have a part in the picture, from 4 px up."""
    resolutions = block_resolutions(resolution)
    lods = range(len(resolutions) - 1, math.floor(lod) - 1, -1)
    return list(zip(lods, resolutions, strict=False))


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """The first activations in the memory format that all later ones keep, and that a CPU is faster with."""
    return x.contiguous(memory_format=torch.channels_last)


def activated(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation of x, which is overwritten."""
    return functional.leaky_relu(x, 0.2, inplace=True) if activation == "lrelu" else functional.relu(x, inplace=True)


def doubled(x: torch.Tensor, times: int = 1) -> torch.Tensor:
    """Pictures with every pixel repeated into a square of 2 ** `times`."""
    return functional.interpolate(x, scale_factor=2**times) if times else x


def grown(pictures: Sequence[torch.Tensor], lod: float) -> torch.Tensor:
    """[N, 3, R, R] of the pictures that the blocks have drawn, at 4, 8, … px up to R / 2 ** floor(`lod`).

    The last one, faded into the one before by the fraction of `lod`, as it was while its block grew in.
    """
    whole = math.floor(lod)
    picture = pictures[-1]
    if lod > whole:
        picture = picture.lerp(doubled(pictures[-2]), lod - whole)
    return doubled(picture, whole).contiguous()  # whatever the memory format of the layers


def layer_weight(kind: LayerKind, in_channels: int, out_channels: int) -> nn.Parameter:
    """A random weight for `transformed` that keeps the size of activations."""
    shapes = {
        "dense": (out_channels * 16, in_channels),
        "double": (in_channels, out_channels, 4, 4),
        "plain": (out_channels, in_channels, 3, 3),
    }
    fan_in = in_channels * {"dense": 16, "double": 16, "plain": 9}[kind]
    return nn.Parameter(torch.randn(shapes[kind]) * (SQRT2 / math.sqrt(fan_in)))


def transformed(kind: LayerKind, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """[N, C, 4, 4] for x [N, features] if `dense`, [N, C, 2H, 2W] for [N, C', H, W] if `double`, else [N, C, H, W]."""
    if kind == "dense":
        x = channels_last(functional.linear(x, weight).view(len(x), -1, 4, 4))
        return x if bias is None else x + bias[:, None, None]
    if kind == "double":
        return functional.conv_transpose2d(x, weight, bias, stride=2, padding=1)
    return functional.conv2d(x, weight, bias, padding=1)


class Layer(nn.Module):
    """A dense layer or a convolution, its activation function, and pixel norm."""

    def __init__(self, config: PGGANConfig, kind: LayerKind, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.config, self.kind = config, kind
        self.weight = layer_weight(kind, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations of the next size; see `transformed`."""
        x = activated(transformed(self.kind, x, self.weight, self.bias), self.config.activation)
        return normalized(x, self.config.epsilon) if self.config.pixel_norm else x


class Block(nn.Module):
    """The two layers of one resolution; at 4 px the first one is dense."""

    def __init__(self, config: PGGANConfig, index: int) -> None:
        super().__init__()
        channels = config.channels[index]
        before = config.channels[index - 1] if index else config.z_dim + config.c_dim
        self.layer0 = Layer(config, "double" if index else "dense", before, channels)
        self.layer1 = Layer(config, "plain", channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W]."""
        activations: torch.Tensor = self.layer1(self.layer0(x))
        return activations


class PGGAN(LatentGenerator):
    """A progressively grown generator; see protocol.Generator."""

    def __init__(self, config: PGGANConfig) -> None:
        super().__init__(config, config.c_dim)
        self.config = config
        for i, (at, channels) in enumerate(zip(block_resolutions(config.resolution), config.channels, strict=True)):
            self.add_module(f"b{at}", Block(config, i))
            self.add_module(f"torgb_lod{len(config.channels) - 1 - i}", nn.Conv2d(channels, 3, 1))

    def synthesis(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] for z as codes [N, 1, z_dim]; there is no noise."""
        del noise_mode
        x = ws[:, 0]
        if self.c_dim and x.shape[1] == self.z_dim:
            x = torch.cat([x, one_hot(self.config.label, self.c_dim, x)], 1)
        if self.config.normalize_z:
            x = normalized(x, self.config.epsilon)
        pictures = []
        for lod, at in drawn(self.config.resolution, self.config.lod):
            x = self.get_submodule(f"b{at}")(x)
            pictures.append(self.get_submodule(f"torgb_lod{lod}")(x))
        return grown(pictures, self.config.lod)
