"""StyleGAN2 in plain PyTorch: no compiled operators, and parameter names as in the official PyTorch checkpoints.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN". Differs in how a modulated
convolution is computed: activations are scaled before and after one shared convolution, which is the same sum and
keeps the batch in one call, where the paper builds one weight per picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

NoiseMode = Literal["const", "none", "random"]
SQRT2 = math.sqrt(2)
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)
DEMODULATION_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class StyleGAN2Config:
    """Sizes of a StyleGAN2 generator."""

    resolution: int
    """R, a power of two, px."""
    z_dim: int = 512
    w_dim: int = 512
    channel_base: int = 32768
    """Channels of a layer times its resolution, up to `channel_max`."""
    channel_max: int = 512
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    mapping_activation: Literal["lrelu", "linear"] = "lrelu"
    """`linear` is for models trained without an adversary, whose W is a fitted Gaussian."""

    def channels(self, resolution: int) -> int:
        """Channels of the layers that work at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def block_resolutions(self) -> list[int]:
        """4, 8, … R."""
        return [2**i for i in range(2, self.resolution.bit_length())]

    @property
    def num_ws(self) -> int:
        """L."""
        return 2 * len(self.block_resolutions)

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers'."""
        layers = sum(9 * self.channels(r) ** 2 + r * r for r in self.block_resolutions)
        return layers + self.w_dim * (self.z_dim + (self.mapping_layers - 1) * self.w_dim)


class FullyConnected(nn.Module):
    """A linear layer whose weight is stored at unit scale and multiplied by its gain when it runs."""

    def __init__(self, in_features: int, out_features: int, bias_init: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., out_features] for [..., in_features]."""
        return functional.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class MappingNetwork(nn.Module):
    """z to w."""

    w_avg: torch.Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.num_layers = config.mapping_layers
        self.activation = config.mapping_activation
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        for i in range(self.num_layers):
            layer = FullyConnected(widths[i], widths[i + 1], lr_multiplier=config.mapping_lr_multiplier)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """[N, D] for z [N, z_dim], brought to unit second moment first."""
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
            if self.activation == "lrelu":
                x = functional.leaky_relu(x, 0.2) * SQRT2
        return x


class SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution, noise, bias and leaky ReLU; `up` doubles the resolution first."""

    noise_const: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: NoiseMode, fir: torch.Tensor) -> torch.Tensor:
        """[N, C', H', W'] for activations [N, C, H, W] and codes [N, D]."""
        styles = self.affine(w)
        demodulation = (styles.square() @ self.weight.square().sum((2, 3)).T + DEMODULATION_EPSILON).rsqrt()
        x = x * styles[:, :, None, None]
        if self.up:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = functional.conv2d(x, (fir * 4).expand(x.shape[1], 1, -1, -1), padding=1, groups=x.shape[1])
        else:
            x = functional.conv2d(x, self.weight, padding=1)
        x = x * demodulation[:, :, None, None]
        if noise_mode == "const":
            x = x + self.noise_const * self.noise_strength
        elif noise_mode == "random":
            x = x + torch.randn_like(x[:, :1]) * self.noise_strength
        return functional.leaky_relu(x + self.bias[:, None, None], 0.2) * SQRT2


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to three channels, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.style_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W]."""
        styles = self.affine(w) * self.style_gain
        return functional.conv2d(x * styles[:, :, None, None], self.weight, self.bias)


class SynthesisBlock(nn.Module):
    """The layers of one resolution, and their contribution to the picture."""

    def __init__(self, config: StyleGAN2Config, resolution: int) -> None:
        super().__init__()
        channels = config.channels(resolution)
        self.first = resolution == 4
        if self.first:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            before = config.channels(resolution // 2)
            self.conv0 = SynthesisLayer(before, channels, config.w_dim, resolution, up=True)
        self.conv1 = SynthesisLayer(channels, channels, config.w_dim, resolution, up=False)
        self.torgb = ToRGB(channels, config.w_dim)

    def forward(
        self,
        x: torch.Tensor | None,
        picture: torch.Tensor | None,
        ws: Sequence[torch.Tensor],
        noise_mode: NoiseMode,
        fir: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations and picture at this resolution; `ws` are this block's codes, the last for the picture."""
        x = self.const.expand(ws[0].shape[0], -1, -1, -1) if x is None else self.conv0(x, ws[0], noise_mode, fir)
        x = self.conv1(x, ws[-2], noise_mode, fir)
        rgb: torch.Tensor = self.torgb(x, ws[-1])
        if picture is not None:
            # transposed convolution with the FIR taps: zeros inserted, then filtered, in one call
            rgb = rgb + functional.conv_transpose2d(
                picture, (fir * 4).expand(3, 1, -1, -1), stride=2, padding=1, groups=3
            )
        return x, rgb


class SynthesisNetwork(nn.Module):
    """ws to pictures."""

    fir: torch.Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.block_resolutions = config.block_resolutions
        for resolution in self.block_resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(config, resolution))
        taps = torch.tensor(FIR_TAPS)
        self.register_buffer("fir", torch.outer(taps, taps) / taps.sum() ** 2, persistent=False)

    def forward(self, ws: torch.Tensor, noise_mode: NoiseMode = "const", resolution: int | None = None) -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]; with `resolution`, what the blocks up to it have drawn."""
        codes = ws.unbind(1)
        x: torch.Tensor | None = None
        picture: torch.Tensor | None = None
        for i, at in enumerate(self.block_resolutions):
            # a block's last code is its ToRGB's, which the next block's first layer shares
            block_codes = codes[max(0, 2 * i - 1) : 2 * i + 2]
            x, picture = self.get_submodule(f"b{at}")(x, picture, block_codes, noise_mode, self.fir)
            if at == resolution:
                break
        if picture is None:
            raise ValueError("a generator needs at least one block")
        return picture


class StyleGAN2(nn.Module):
    """A StyleGAN2 generator; see protocol.Generator."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.num_ws, self.w_dim, self.z_dim = config.num_ws, config.w_dim, config.z_dim
        self.resolution = config.resolution
        self.mapping_network = MappingNetwork(config)
        self.synthesis_network = SynthesisNetwork(config)

    @property
    def w_avg(self) -> torch.Tensor:
        """[D]."""
        return self.mapping_network.w_avg

    def mapping(self, z: torch.Tensor, truncation_psi: float = 1.0) -> torch.Tensor:
        """[N, L, D] for z [N, z_dim]."""
        w: torch.Tensor = self.mapping_network(z)
        if truncation_psi != 1:
            w = self.w_avg.lerp(w, truncation_psi)
        return w.unsqueeze(1).repeat(1, self.num_ws, 1)

    def synthesis(self, ws: torch.Tensor, noise_mode: NoiseMode = "const") -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]."""
        picture: torch.Tensor = self.synthesis_network(ws, noise_mode)
        return picture
