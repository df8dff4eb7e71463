"""StyleGAN2's synthesis as the published networks compute it, to be measured beside this project's.

Every picture gets its own weights, scaled by its styles and divided by their norm; a grouped convolution applies them,
and gradients reach the styles through them. Filters are a step of their own: zeros between the pixels, zeros around,
one depthwise convolution.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2 and appendix B.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from reanimate.errors import ConfigError
from reanimate.generators.mapping import SQRT2
from reanimate.generators.stylegan2 import DEMODULATION_EPSILON, StyleGAN2, SynthesisLayer, ToRGB


class Reference(nn.Module):
    """The synthesis of a StyleGAN2 generator, with that generator's weights."""

    def __init__(self, generator: StyleGAN2) -> None:
        """Raises ConfigError: the generator has options that this leaves out."""
        super().__init__()
        config = generator.config
        if (config.architecture, config.activation, config.resample_taps) != ("skip", "lrelu", 0):
            raise ConfigError("model", "the reference pass draws by skips, with leaky ReLU and the usual filter only")
        self.network, self.config = generator.synthesis_network, config

    def forward(self, ws: torch.Tensor) -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]."""
        codes, fir = ws.unbind(1), self.network.fir
        x: torch.Tensor = self.network.get_parameter("b4.const").unsqueeze(0).repeat(len(ws), 1, 1, 1)
        x = self._layer("b4.conv1", x, codes[0], fir)
        picture = self._rgb("b4.torgb", x, codes[1])
        for i, at in enumerate(self.config.block_resolutions[1:]):
            x = self._layer(f"b{at}.conv0", x, codes[2 * i + 1], fir)
            x = self._layer(f"b{at}.conv1", x, codes[2 * i + 2], fir)
            picture = filtered(picture, fir, (2, 1), gain=4, up=2) + self._rgb(f"b{at}.torgb", x, codes[2 * i + 3])
        return picture

    def _layer(self, name: str, x: torch.Tensor, w: torch.Tensor, fir: torch.Tensor) -> torch.Tensor:
        layer: SynthesisLayer = self.network.get_submodule(name)  # type: ignore[assignment]
        weight = layer.weight.unsqueeze(0) * layer.affine(w)[:, None, :, None, None]
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + DEMODULATION_EPSILON).rsqrt()
        size = self.config.kernel_size
        if layer.up:
            x = _grouped(x, weight.transpose(1, 2), transposed=True)
            x = filtered(x, fir, (2 - size // 2, 2 - size // 2), gain=4)
        else:
            x = _grouped(x, weight, padding=size // 2)
        if self.config.use_noise:
            x = x + layer.noise_const * layer.noise_strength
        return self._clamped(functional.leaky_relu(x + layer.bias[:, None, None], 0.2) * SQRT2)

    def _rgb(self, name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        layer: ToRGB = self.network.get_submodule(name)  # type: ignore[assignment]
        styles = layer.affine(w) * layer.style_gain
        x = _grouped(x, layer.weight.unsqueeze(0) * styles[:, None, :, None, None])
        return self._clamped(x + layer.bias[:, None, None])

    def _clamped(self, x: torch.Tensor) -> torch.Tensor:
        limit = self.config.conv_clamp
        return x.clamp(-limit, limit) if limit else x


def filtered(x: torch.Tensor, fir: torch.Tensor, padding: tuple[int, int], gain: float, up: int = 1) -> torch.Tensor:
    """[N, C, H', W'] after `up` - 1 zeros behind every pixel, `padding` zeros around, and the filter times `gain`."""
    n, channels, height, width = x.shape
    x = functional.pad(x.reshape(n, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
    x = functional.pad(x.reshape(n, channels, height * up, width * up), (*padding, *padding))
    weight = (fir * gain).flip(0, 1).repeat(channels, 1, 1, 1)
    return functional.conv2d(x, weight, groups=channels)


def _grouped(x: torch.Tensor, weight: torch.Tensor, *, padding: int = 0, transposed: bool = False) -> torch.Tensor:
    """[N, C', H', W'] for x [N, C, H, W]: a weight [N, ...] for every picture, which are groups of one convolution."""
    n = len(x)
    x, weight = x.reshape(1, -1, *x.shape[2:]), weight.flatten(0, 1)
    if transposed:
        x = functional.conv_transpose2d(x, weight, stride=2, groups=n)
    else:
        x = functional.conv2d(x, weight, padding=padding, groups=n)
    return x.reshape(n, -1, *x.shape[2:])
