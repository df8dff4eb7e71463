"""StyleGAN3 in plain PyTorch, with and without rotation equivariance; parameter names as in the official checkpoints.

Source: Karras et al. 2021, "Alias-Free Generative Adversarial Networks". Differs in that activations are modulated and
not weights, as in stylegan2.py, and in that nothing is normalised over the batch: demodulation undoes it anyway. The
low-pass filters are weights like others, so nothing here knows how they were designed; before weights are loaded they
are plain averages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import StyleGenerator
from reanimate.generators.mapping import SQRT2, FullyConnected, MappingConfig, MappingNetwork
from reanimate.generators.protocol import Noise
from reanimate.generators.resampling import convolve, upsample

DEMODULATION_EPSILON = 1e-8
SLOPE = 0.2  # of the activation below zero


@dataclass(frozen=True, slots=True)
class LayerGeometry:
    """Sizes of one layer, derived from a configuration."""

    in_channels: int
    out_channels: int
    kernel_size: int
    up: int
    """By how much the layer enlarges before its activation."""
    down: int
    """By how much it reduces after."""
    up_taps: int
    down_taps: int
    radial: bool
    """Whether the filter after the activation is one of both axes."""
    padding: tuple[int, int]
    """Zeros before and after the enlarged picture, negative to crop it."""


@dataclass(frozen=True, slots=True)
class StyleGAN3Config(MappingConfig):
    """Sizes and options of a StyleGAN3 generator."""

    resolution: int
    """R, px."""
    channels: tuple[int, ...]
    """Of what each layer gives but the last, which draws the picture. The input has as many as the first layer."""
    sizes: tuple[int, ...]
    """Side of what each layer gives, with its margin, px. The input's is the first layer's."""
    sampling_rates: tuple[int, ...]
    """Of what each layer gives, pixels per picture. The input's is the first layer's."""
    mapping_layers: int = field(default=2, kw_only=True)
    bandwidth: float = 2.0
    """Highest frequency of the input, cycles per picture."""
    conv_kernel: int = 3
    """Of all layers but the last, which has 1."""
    filter_size: int = 6
    """Taps of a filter for each time it enlarges or reduces."""
    lrelu_upsampling: int = 2
    radial_layers: int = 0
    """The first layers up to this one are reduced by a filter of both axes."""
    conv_clamp: float = 0.0
    """Largest size of an activation; 0 for no limit."""
    output_scale: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        MappingConfig.__post_init__(self)  # super() does not find its class in a dataclass with slots
        layers = len(self.channels) + 1
        if len(self.sizes) != layers or len(self.sampling_rates) != layers:
            raise ValueError(f"{layers} layers need as many sizes and sampling rates")
        if self.sizes[-1] != self.resolution:
            raise ValueError(f"the last layer gives {self.sizes[-1]} px, not {self.resolution}")
        if min(self.sampling_rates) < 1 or self.sampling_rates[0] <= 2 * self.bandwidth:
            raise ValueError(f"sampling rates {self.sampling_rates} do not suit the bandwidth {self.bandwidth}")
        for i in range(layers):
            before, after, rate = self._rates(i)
            if rate % before or rate % after:
                raise ValueError(f"layer {i} cannot go from a sampling rate of {before} to {after}")

    @property
    def num_ws(self) -> int:
        """L: the input's, and one for each layer."""
        return len(self.sizes) + 1

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its convolutions' and its filters'."""
        layers = [self.layer(i) for i in range(len(self.sizes))]
        kernels = sum(layer.in_channels * layer.out_channels * layer.kernel_size**2 for layer in layers)
        filters = sum(layer.down_taps**2 if layer.radial else layer.down_taps - 1 for layer in layers)
        return kernels + filters + sum(layer.up_taps - 1 for layer in layers) + self.mapping_weights

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers, in order."""
        return [f"L{i}_{size}_{c}" for i, (size, c) in enumerate(zip(self.sizes, (*self.channels, 3), strict=True))]

    def layer(self, index: int) -> LayerGeometry:
        """Sizes of one layer."""
        last, previous = index == len(self.channels), max(index - 1, 0)
        before, after, rate = self._rates(index)
        up, down = rate // before, rate // after
        up_taps, down_taps = (1 if last or factor == 1 else self.filter_size * factor for factor in (up, down))
        kernel = 1 if last else self.conv_kernel
        # what the filters and the kernel need around them, beyond what there is before the activation
        padding = (self.sizes[index] - 1) * down + 1 + up_taps + down_taps - 2
        padding -= (self.sizes[previous] + kernel - 1) * up
        first = (padding + up) // 2
        return LayerGeometry(
            in_channels=self.channels[previous],
            out_channels=3 if last else self.channels[index],
            kernel_size=kernel,
            up=up,
            down=down,
            up_taps=up_taps,
            down_taps=down_taps,
            radial=index < self.radial_layers and down_taps > 1,
            padding=(first, padding - first),
        )

    def _rates(self, index: int) -> tuple[int, int, int]:
        """Sampling rates before and after a layer, and of its activation."""
        before, after = self.sampling_rates[max(index - 1, 0)], self.sampling_rates[index]
        return before, after, max(before, after) * (1 if index == len(self.channels) else self.lrelu_upsampling)


class SynthesisInput(nn.Module):
    """Waves of fixed frequencies and phases, turned and moved by a code and by `transform`."""

    transform: torch.Tensor
    freqs: torch.Tensor
    phases: torch.Tensor

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        channels, self.bandwidth = config.channels[0], config.bandwidth
        self.size, self.sampling_rate = config.sizes[0], config.sampling_rates[0]
        self.affine = FullyConnected(config.w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias[0] = 1
        self.weight = nn.Parameter(torch.randn(channels, channels))
        directions = torch.randn(channels, 2)
        self.register_buffer(
            "freqs", functional.normalize(directions) * torch.rand(channels, 1).sqrt() * self.bandwidth
        )
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] for codes [N, D]."""
        turn_and_shift = self.affine(w)
        turn_and_shift = turn_and_shift / turn_and_shift[:, :2].norm(dim=1, keepdim=True)
        cos, sin, _, _ = turn_and_shift.unbind(1)
        moved = self.transform[:2] - turn_and_shift[:, 2:, None] * self.transform[2]  # [N, 2, 3]
        transforms = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2) @ moved
        phases = self.phases + (self.freqs @ transforms[:, :, 2:]).squeeze(2)
        freqs = self.freqs @ transforms[:, :, :2]  # [N, C, 2]
        # a transform may enlarge frequencies: they fade out up to half the sampling rate
        fading = (freqs.norm(dim=2) - self.bandwidth) / (self.sampling_rate / 2 - self.bandwidth)
        amplitudes = (1 - fading).clamp(0, 1)
        places = (torch.arange(self.size, device=w.device, dtype=w.dtype) + 0.5 - self.size / 2) / self.sampling_rate
        across, down = freqs[:, :, 0, None, None] * places, freqs[:, :, 1, None, None] * places[:, None]
        waves = torch.sin((across + down + phases[:, :, None, None]) * (2 * math.pi)) * amplitudes[:, :, None, None]
        return functional.conv2d(waves, self.weight[:, :, None, None] / math.sqrt(len(self.weight)))


class SynthesisLayer(nn.Module):
    """A modulated convolution and bias; then a leaky ReLU at a higher sampling rate, between two low-pass filters.

    The last layer draws the picture: it has neither demodulation, nor filters, nor an activation.
    """

    magnitude_ema: torch.Tensor
    up_filter: torch.Tensor
    down_filter: torch.Tensor

    def __init__(self, config: StyleGAN3Config, index: int) -> None:
        super().__init__()
        self.geometry, self.conv_clamp = config.layer(index), config.conv_clamp
        self.draws = index == len(config.channels)
        before, after, size = self.geometry.in_channels, self.geometry.out_channels, self.geometry.kernel_size
        self.affine = FullyConnected(config.w_dim, before, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(after, before, size, size))
        self.bias = nn.Parameter(torch.zeros(after))
        self.register_buffer("magnitude_ema", torch.ones([]))
        down_shape = [self.geometry.down_taps] * (2 if self.geometry.radial else 1)
        for name, shape in (("up_filter", [self.geometry.up_taps]), ("down_filter", down_shape)):
            taps = torch.full(shape, 1 / math.prod(shape))
            self.register_buffer(name, taps, persistent=taps.numel() > 1)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """[N, C', H', W'] for activations [N, C, H, W] and codes [N, D]."""
        sizes, styles = self.geometry, self.affine(w)
        if self.draws:
            styles = styles / math.sqrt(sizes.in_channels)
        x = x * (styles * self.magnitude_ema.rsqrt())[:, :, None, None]
        x = functional.conv2d(x, self.weight, padding=sizes.kernel_size - 1)
        bias, up_filter = self.bias[:, None, None], _of_both_axes(self.up_filter)
        if self.draws:
            x = self._limited(upsample(x + bias, up_filter, sizes.up, *sizes.padding), 1.0)
        else:
            demodulation = (styles.square() @ self.weight.square().sum((2, 3)).T + DEMODULATION_EPSILON).rsqrt()
            x = torch.addcmul(bias, x, demodulation[:, :, None, None])
            # the picture is at its largest now: the activation's gain goes into the filter, and its limit before it
            x = self._limited(upsample(x, up_filter * SQRT2, sizes.up, *sizes.padding), 1 / SLOPE)
            x = functional.leaky_relu(x, SLOPE, inplace=True)
        return convolve(x, _of_both_axes(self.down_filter), step=sizes.down)

    def _limited(self, x: torch.Tensor, below: float) -> torch.Tensor:
        """x, overwritten, up to the limit, and down to `below` times as far."""
        return x.clamp_(-below * self.conv_clamp, self.conv_clamp) if self.conv_clamp else x


class SynthesisNetwork(nn.Module):
    """ws to pictures."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.output_scale, self.layer_names = config.output_scale, config.layer_names
        self.input = SynthesisInput(config)
        for i, name in enumerate(self.layer_names):
            self.add_module(name, SynthesisLayer(config, i))

    def forward(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]."""
        del noise_mode
        codes = ws.unbind(1)
        x: torch.Tensor = self.input(codes[0])
        for name, w in zip(self.layer_names, codes[1:], strict=True):
            x = self.get_submodule(name)(x, w)
        return x * self.output_scale


class StyleGAN3(StyleGenerator):
    """A StyleGAN3 generator; see protocol.Generator. It has no noise, so `noise_mode` changes nothing."""

    mapping_network: MappingNetwork
    synthesis_network: SynthesisNetwork

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__(config, config.z_dim, config.c_dim, MappingNetwork(config), SynthesisNetwork(config))
        self.config = config


def _of_both_axes(taps: torch.Tensor) -> torch.Tensor:
    """[K, K] of a filter [K] that is applied along both axes, or of one that is given whole."""
    return torch.outer(taps, taps) if taps.ndim == 1 else taps
