"""StyleGAN2 in plain PyTorch: no compiled operators, and parameter names as in the official PyTorch checkpoints.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN". Differs in how a modulated
convolution is computed: activations are scaled before and after one shared convolution, which is the same sum and
keeps the batch in one call, where the paper builds one weight per picture; while weights are frozen, what depends on
them alone is computed once, and on a CPU activations have their channels last. All options of the official PyTorch code
that change a picture are here; its half precision is not, since pictures are compared with what it draws in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import StyleGenerator
from reanimate.generators.frozen import Frozen
from reanimate.generators.mapping import SQRT2, Activation, FullyConnected, MappingConfig, MappingNetwork, activate
from reanimate.generators.protocol import Noise
from reanimate.generators.resampling import convolve, upsample

FIR_TAPS = (1.0, 3.0, 3.0, 1.0)
DEMODULATION_EPSILON = 1e-8
Architecture = Literal["skip", "orig", "resnet"]


@dataclass(frozen=True, slots=True)
class StyleGAN2Config(MappingConfig):
    """Sizes and options of a StyleGAN2 generator."""

    resolution: int
    """R, a power of two, px."""
    channels: tuple[int, ...]
    """Channels of the layers of each block, at 4, 8, … R px; see `usual_channels`."""
    architecture: Architecture = "skip"
    """Who draws: every block a part (`skip`), or the last block all of it, with (`resnet`) or without (`orig`)
    shortcuts past the layers of a block."""
    activation: Activation = "lrelu"
    conv_clamp: float = 0.0
    """Largest size of an activation; 0 for no limit."""
    use_noise: bool = True
    kernel_size: int = 3
    resample_taps: int = 0
    """K of a resampling filter [K, K] that is kept with the weights; 0 for the usual one."""

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        MappingConfig.__post_init__(self)  # super() does not find its class in a dataclass with slots
        if self.resolution < 4 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution {self.resolution} is not a power of two from 4 up")
        if len(self.channels) != len(self.block_resolutions):
            raise ValueError(f"{len(self.channels)} blocks do not lead from 4 to {self.resolution} px")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"a kernel of {self.kernel_size} has no middle")

    @property
    def block_resolutions(self) -> list[int]:
        """4, 8, … R."""
        return [2**i for i in range(2, self.resolution.bit_length())]

    def channels_at(self, resolution: int) -> int:
        """Channels of the layers that work at a resolution."""
        return self.channels[self.block_resolutions.index(resolution)]

    @property
    def num_ws(self) -> int:
        """L."""
        return 2 * len(self.block_resolutions)

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers'."""
        layers = sum((self.kernel_size * c) ** 2 for c in self.channels)
        noise = sum(r * r for r in self.block_resolutions) if self.use_noise else 0
        return layers + noise + self.resample_taps**2 + self.mapping_weights


def usual_channels(resolution: int, base: int = 32768, most: int = 512) -> tuple[int, ...]:
    """Channels of the blocks at 4, 8, … `resolution` px by the usual rule: `base` over the resolution, up to `most`."""
    return tuple(min(base // 2**i, most) for i in range(2, resolution.bit_length()))


def usual_filter() -> torch.Tensor:
    """[4, 4] resampling filter, which sums to one."""
    taps = torch.tensor(FIR_TAPS)
    return torch.outer(taps, taps) / taps.sum() ** 2


class LayerConstants(NamedTuple):
    """What a layer computes of its weights alone; `energy` [C, C'] is their squares, summed over positions."""

    weight: torch.Tensor
    energy: torch.Tensor
    bias: torch.Tensor
    noise: torch.Tensor | None


class SynthesisLayer(nn.Module):
    """A modulated convolution, noise, bias and activation; `up` doubles the resolution first."""

    noise_const: torch.Tensor

    def __init__(
        self, config: StyleGAN2Config, in_channels: int, out_channels: int, resolution: int, *, up: bool
    ) -> None:
        super().__init__()
        self.config, self.up = config, up
        # leaky ReLU keeps factors, so its gain can go into what is multiplied and added before it anyway
        self.gain = SQRT2 if config.activation == "lrelu" else 1.0
        self._frozen: Frozen[LayerConstants] = Frozen()
        size = config.kernel_size
        self.affine = FullyConnected(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if config.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros([]))
            self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, noise_mode: Noise | torch.Tensor, fir: torch.Tensor
    ) -> torch.Tensor:
        """[N, C', H', W'] for activations [N, C, H, W] and codes [N, D]."""
        noises = [self.noise_strength, self.noise_const] if self.config.use_noise else []
        own = self._frozen.of([self.weight, self.bias, *noises], self._constants)
        styles = self.affine(w)
        demodulation = (styles.square() @ own.energy + DEMODULATION_EPSILON / self.gain**2).rsqrt()
        x = self._convolved(x * styles.to(x.dtype)[:, :, None, None], own.weight, fir)
        x = x * demodulation.to(x.dtype)[:, :, None, None]
        x = x.add_(own.bias)  # gradients need neither sum, so it may be overwritten
        if isinstance(noise_mode, torch.Tensor):
            x = x + (noise_mode * (self.noise_strength * self.gain)).to(x.dtype)
        elif noise_mode == "random" and self.config.use_noise:
            x = x.add_(torch.randn_like(x[:, :1]) * (self.noise_strength * self.gain))
        elif noise_mode == "const" and own.noise is not None:
            x = x.add_(own.noise)
        lrelu = self.config.activation == "lrelu"
        x = functional.leaky_relu_(x, 0.2) if lrelu else activate(x, self.config.activation)
        return _clamped(x, self.config.conv_clamp)

    def _constants(self) -> LayerConstants:
        weight = self.weight.transpose(0, 1) if self.up else self.weight
        if weight.device.type == "cpu" and not weight.requires_grad:
            weight = weight.contiguous(memory_format=torch.channels_last)  # activations take this order from it
        energy = (
            self.weight.to(self.affine.weight.dtype).square().sum((2, 3)).T / self.gain**2
        )  # so that its root divides by the gain
        noise = None
        if self.config.use_noise:
            strength = self.noise_strength
            silent = not (strength.requires_grad or strength.is_meta) and float(strength) == 0
            noise = None if silent else self.noise_const * (strength * self.gain)
        return LayerConstants(weight, energy, self.bias[:, None, None] * self.gain, noise)

    def _convolved(self, x: torch.Tensor, weight: torch.Tensor, fir: torch.Tensor) -> torch.Tensor:
        middle = self.config.kernel_size // 2
        if not self.up:
            return functional.conv2d(x, weight, padding=middle)
        x = functional.conv_transpose2d(x, weight, stride=2)
        # as much of the filter's rim as leaves twice the resolution
        before, after = (len(fir) + 1) // 2 - middle, (len(fir) - 2) // 2 - middle + 1
        return convolve(x, fir * 4, before, after)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to three channels, without demodulation."""

    def __init__(self, config: StyleGAN2Config, in_channels: int) -> None:
        super().__init__()
        self.affine = FullyConnected(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.style_gain = 1 / math.sqrt(in_channels)
        self.conv_clamp = config.conv_clamp

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] for activations [N, C, H, W] and codes [N, D]."""
        styles = self.affine(w) * self.style_gain
        drawn = functional.conv2d(x * styles.to(x.dtype)[:, :, None, None], self.weight, self.bias)
        return _clamped(drawn.to(w.dtype), self.conv_clamp)


class Shortcut(nn.Module):
    """A 1x1 convolution, enlarged: what the layers of a block add to."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, fir: torch.Tensor) -> torch.Tensor:
        """[N, C', 2H, 2W] for [N, C, H, W]."""
        return _doubled(functional.conv2d(x, self.weight * self.weight_gain), fir)


class SynthesisBlock(nn.Module):
    """The layers of one resolution, and their contribution to the picture."""

    def __init__(self, config: StyleGAN2Config, resolution: int) -> None:
        super().__init__()
        channels = config.channels_at(resolution)
        self.first = resolution == 4
        self.draws = config.architecture == "skip" or resolution == config.resolution
        self.shortcut = config.architecture == "resnet" and not self.first
        if self.first:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            before = config.channels_at(resolution // 2)
            self.conv0 = SynthesisLayer(config, before, channels, resolution, up=True)
        self.conv1 = SynthesisLayer(config, channels, channels, resolution, up=False)
        if self.draws:
            self.torgb = ToRGB(config, channels)
        if self.shortcut:
            self.skip = Shortcut(before, channels)

    def forward(
        self,
        x: torch.Tensor | None,
        picture: torch.Tensor | None,
        ws: Sequence[torch.Tensor],
        noise: Sequence[Noise | torch.Tensor],
        fir: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Activations and picture at this resolution.

        `ws` are this block's codes, the last for the picture, and `noise` what its layers get.
        """
        given = self.const.expand(ws[0].shape[0], -1, -1, -1) if x is None else x
        x = given if self.first else self.conv0(given, ws[0], noise[0], fir)
        x = self.conv1(x, ws[-2], noise[-1], fir)
        if self.shortcut:
            x = (x + self.skip(given, fir)) * math.sqrt(0.5)
        if picture is not None:
            picture = _doubled(picture, fir)
        if self.draws:
            rgb = self.torgb(x, ws[-1])
            picture = rgb if picture is None else picture + rgb
        return x, picture


class SynthesisNetwork(nn.Module):
    """ws to pictures."""

    fir: torch.Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.block_resolutions = config.block_resolutions
        for resolution in self.block_resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(config, resolution))
        taps = config.resample_taps
        fir = torch.full((taps, taps), 1 / taps**2) if taps else usual_filter()
        self.register_buffer("fir", fir, persistent=taps > 0)

    def forward(self, ws: torch.Tensor, noise_mode: Noise = "const", resolution: int | None = None) -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]; with `resolution`, what the blocks up to it have drawn."""
        codes = ws.unbind(1)
        layers = 2 * len(self.block_resolutions) - 1
        noises = [noise_mode] * layers if isinstance(noise_mode, str) else list(noise_mode)
        x: torch.Tensor | None = None
        picture: torch.Tensor | None = None
        for i, at in enumerate(self.block_resolutions):
            # a block's last code is its ToRGB's, which the next block's first layer shares
            block_codes = codes[max(0, 2 * i - 1) : 2 * i + 2]
            block_noise = noises[max(0, 2 * i - 1) : 2 * i + 1]
            x, picture = self.get_submodule(f"b{at}")(x, picture, block_codes, block_noise, self.fir)
            if at == resolution:
                break
        if picture is None:
            raise ValueError(f"blocks up to {resolution} px have drawn nothing yet")
        return picture


class StyleGAN2(StyleGenerator):
    """A StyleGAN2 generator; see protocol.Generator."""

    mapping_network: MappingNetwork
    synthesis_network: SynthesisNetwork

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config, config.z_dim, config.c_dim, MappingNetwork(config), SynthesisNetwork(config))
        self.config = config


def _doubled(x: torch.Tensor, fir: torch.Tensor) -> torch.Tensor:
    """[N, C, 2H, 2W] for [N, C, H, W]."""
    return upsample(x, fir, 2, (len(fir) + 1) // 2, (len(fir) - 2) // 2)


def _clamped(x: torch.Tensor, limit: float) -> torch.Tensor:
    return x.clamp(-limit, limit) if limit else x
