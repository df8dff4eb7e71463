"""StyleGAN in plain PyTorch, with every option of the official code that changes a picture.

Source: Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", and its
released code. Differs as pggan.py does: weights hold their run-time gain, and doubling is one transposed convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import StyleGenerator, check_label, normalized, one_hot
from reanimate.generators.pggan import (
    Activation,
    LayerKind,
    activated,
    block_resolutions,
    channels_last,
    check_growth,
    drawn,
    grown,
    layer_weight,
    transformed,
)
from reanimate.generators.protocol import Noise

INSTANCE_EPSILON = 1e-8
FirstKind = Literal["const", "dense"]


@dataclass(frozen=True, slots=True)
class StyleGAN1Config:
    """Sizes and options of a StyleGAN generator."""

    resolution: int
    """R, a power of two, px."""
    channels: tuple[int, ...]
    """Channels of the layers of each block, at 4, 8, … R px."""
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_width: int = 512
    """Of all layers but the last."""
    mapping_activation: Activation = "lrelu"
    normalize_z: bool = True
    c_dim: int = 0
    label: int = 0
    """The class that is drawn where none is given."""
    activation: Activation = "lrelu"
    const_input: bool = True
    """Whether the first layer is learnt; else it is a dense one of the first code."""
    styles: bool = True
    """Whether codes shift and scale the channels of every layer; else there is one code, for a dense first layer."""
    noise: bool = True
    pixel_norm: bool = False
    instance_norm: bool = True
    blur: tuple[int, ...] = (1, 2, 1)
    """Taps of the filter after each doubling; none if empty."""
    lod: float = 0.0
    """Doublings of which the picture is still short; see `pggan.grown`."""

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        check_growth(self.resolution, self.channels, self.lod)
        check_label(self.label, self.c_dim)
        if self.const_input and not self.styles:
            raise ValueError("a generator with neither styles nor a dense first layer heeds no code")
        if self.blur and (len(self.blur) % 2 == 0 or not sum(self.blur)):
            raise ValueError(f"a filter has an odd number of taps that do not sum to zero, not {self.blur}")
        if not self.mapping_layers and self.w_dim != self.mapping_input:
            raise ValueError(f"without a mapping network, codes are {self.mapping_input} wide, not {self.w_dim}")

    @property
    def mapping_input(self) -> int:
        """Width of z and of an embedded class beside it."""
        return 2 * self.z_dim if self.c_dim else self.z_dim

    @property
    def mapping_widths(self) -> list[int]:
        """Width of what goes into the mapping network, and of what each of its layers gives."""
        return [self.mapping_input, *[self.mapping_width] * (self.mapping_layers - 1), self.w_dim]

    @property
    def num_ws(self) -> int:
        """L."""
        return 2 * len(self.channels) if self.styles else 1

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers', and its noise."""
        mapping = self.mapping_input + (self.mapping_layers - 1) * self.mapping_width if self.mapping_layers else 0
        layers = sum(c * (9 * c + (4 * self.w_dim if self.styles else 0)) for c in self.channels)
        noise = sum(2 * r * r for r in block_resolutions(self.resolution)) if self.noise else 0
        return layers + noise + mapping * min(self.mapping_width, self.w_dim)


class MappingNetwork(nn.Module):
    """z to w."""

    w_avg: torch.Tensor

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.config = config
        if config.c_dim:
            self.embedding = nn.Linear(config.c_dim, config.z_dim, bias=False)
        for i in range(config.mapping_layers):
            self.add_module(f"fc{i}", nn.Linear(config.mapping_widths[i], config.mapping_widths[i + 1]))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        """[N, D] for z [N, z_dim] and classes [N, c_dim]; the configuration's class if there are none."""
        x = z
        if self.config.c_dim:
            x = torch.cat([z, self.embedding(one_hot(self.config.label, self.config.c_dim, z) if c is None else c)], 1)
        if self.config.normalize_z:
            x = normalized(x)
        for i in range(self.config.mapping_layers):
            x = activated(self.get_submodule(f"fc{i}")(x), self.config.mapping_activation)
        return x


class SynthesisLayer(nn.Module):
    """A learnt constant, a dense layer or a convolution; then noise, the activation function, norms, and the style."""

    noise_const: torch.Tensor
    fir: torch.Tensor

    def __init__(
        self,
        config: StyleGAN1Config,
        kind: FirstKind | LayerKind,
        in_channels: int,
        out_channels: int,
        resolution: int,
    ) -> None:
        super().__init__()
        self.config, self.kind = config, kind
        if kind == "const":
            self.weight = nn.Parameter(torch.randn(out_channels, 4, 4))
        else:
            self.weight = layer_weight(kind, in_channels, out_channels)
        self.blurred = kind == "double" and bool(config.blur)
        if self.blurred:
            taps = torch.tensor(config.blur, dtype=torch.float32)
            self.register_buffer("fir", torch.outer(taps, taps) / taps.sum() ** 2, persistent=False)
        if config.noise:
            self.noise_strength = nn.Parameter(torch.zeros(out_channels))
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if config.styles:
            self.style = nn.Linear(config.w_dim, 2 * out_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: Noise | torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] for what the layer before gave (codes [N, D] for the first) and this layer's codes [N, D]."""
        x = self._transformed(x)
        if self.config.noise and noise_mode != "none":
            stored = self.noise_const if noise_mode == "const" else torch.randn_like(x[:, :1])
            noise = noise_mode if isinstance(noise_mode, torch.Tensor) else stored
            x = x.addcmul_(noise, self.noise_strength[:, None, None])  # in place: x is new, and up to 128 MB
        x = activated(x, self.config.activation)
        if self.config.pixel_norm:
            x = normalized(x)
        return self._styled(x, w)

    def _transformed(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "const":
            return channels_last((self.weight + self.bias[:, None, None]).repeat(len(x), 1, 1, 1))
        if not self.blurred:
            return transformed(self.kind, x, self.weight, self.bias)
        x = transformed(self.kind, x, self.weight, None)
        filters = self.fir.expand(x.shape[1], 1, -1, -1)
        return functional.conv2d(x, filters, self.bias, padding=len(self.fir) // 2, groups=x.shape[1])

    def _styled(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if self.config.styles:
            scale, shift = self.style(w).chunk(2, 1)
            scale = scale + 1
        elif self.config.instance_norm:
            scale, shift = x.new_ones(x.shape[:2]), x.new_zeros(x.shape[:2])
        else:
            return x
        if not self.config.instance_norm:
            return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])
        # a batch norm of one picture at a time: one pass for norm and style, and the memory format stays
        pictures = zip(x.chunk(len(x)), scale, shift, strict=True)
        styled = [functional.batch_norm(one, None, None, a, b, True, eps=INSTANCE_EPSILON) for one, a, b in pictures]
        return torch.cat(styled) if len(styled) > 1 else styled[0]


class SynthesisBlock(nn.Module):
    """The two layers of one resolution."""

    def __init__(self, config: StyleGAN1Config, index: int, resolution: int) -> None:
        super().__init__()
        channels = config.channels[index]
        if index:
            self.layer0 = SynthesisLayer(config, "double", config.channels[index - 1], channels, resolution)
        else:
            kind: FirstKind = "const" if config.const_input else "dense"
            self.layer0 = SynthesisLayer(config, kind, config.w_dim, channels, resolution)
        self.layer1 = SynthesisLayer(config, "plain", channels, channels, resolution)

    def forward(
        self, x: torch.Tensor, ws: Sequence[torch.Tensor], noise: Sequence[Noise | torch.Tensor]
    ) -> torch.Tensor:
        """[N, C, H, W] for what the block before gave (codes [N, D] for the first), and for each layer its code [N, D]
        and its noise.
        """
        x = self.layer0(x, ws[0], noise[0])
        activations: torch.Tensor = self.layer1(x, ws[1], noise[1])
        return activations


class SynthesisNetwork(nn.Module):
    """ws to pictures."""

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.config = config
        for i, (at, channels) in enumerate(zip(block_resolutions(config.resolution), config.channels, strict=True)):
            self.add_module(f"b{at}", SynthesisBlock(config, i, at))
            self.add_module(f"torgb_lod{len(config.channels) - 1 - i}", nn.Conv2d(channels, 3, 1))

    def forward(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]."""
        codes = ws.expand(-1, 2 * len(self.config.channels), -1).unbind(1)  # without styles, there is one code
        noises = [noise_mode] * len(codes) if isinstance(noise_mode, str) else list(noise_mode)
        x = codes[0]
        pictures = []
        for i, (lod, at) in enumerate(drawn(self.config.resolution, self.config.lod)):
            x = self.get_submodule(f"b{at}")(x, codes[2 * i : 2 * i + 2], noises[2 * i : 2 * i + 2])
            pictures.append(self.get_submodule(f"torgb_lod{lod}")(x))
        return grown(pictures, self.config.lod)


class StyleGAN1(StyleGenerator):
    """A StyleGAN generator; see protocol.Generator. The official code truncates 8 layers by 0.7 unless told not to."""

    mapping_network: MappingNetwork
    synthesis_network: SynthesisNetwork

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__(config, config.z_dim, config.c_dim, MappingNetwork(config), SynthesisNetwork(config))
        self.config = config
