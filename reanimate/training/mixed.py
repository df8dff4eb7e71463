"""A StyleGAN2 generator's synthesis in mixed precision, for training: the same sums as the generator's own.

Convolutions work in a lower precision; styles, demodulation and the sum of the blocks' pictures stay float32, where
rounding would be seen by a discriminator. Filters are sums of shifted copies, which compile to one pass. Covers what
training makes: pictures summed over blocks, leaky ReLU, no noise.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from reanimate.generators.mapping import SQRT2
from reanimate.generators.resampling import upsample
from reanimate.generators.stylegan2 import (
    DEMODULATION_EPSILON,
    FIR_TAPS,
    SynthesisLayer,
    SynthesisNetwork,
    ToRGB,
)


def synthesise(network: SynthesisNetwork, ws: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """[N, 3, R, R] float32 for ws [N, L, D]."""
    codes = ws.unbind(1)
    x = picture = torch.zeros([])  # the first block begins both
    for i, at in enumerate(network.block_resolutions):
        block = network.get_submodule(f"b{at}")
        if i == 0:
            x = block.get_parameter("const").to(precision).expand(len(ws), -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = _layer(block.get_submodule("conv0"), x, codes[2 * i - 1])  # type: ignore[arg-type]
        x = _layer(block.get_submodule("conv1"), x, codes[2 * i])  # type: ignore[arg-type]
        rgb = _rgb(block.get_submodule("torgb"), x, codes[2 * i + 1])  # type: ignore[arg-type]
        picture = rgb if i == 0 else upsample(picture, network.fir, 2, 2, 1) + rgb
    return picture


def filtered(x: torch.Tensor, padding: int, stride: int = 1, gain: float = 1.0) -> torch.Tensor:
    """[N, C, H', W'] after the usual filter in both directions, zeros around; of it every `stride`-th pixel."""
    taps = [gain**0.5 * tap / sum(FIR_TAPS) for tap in FIR_TAPS]
    for axis in (2, 3):
        x = functional.pad(x, (0, 0, padding, padding) if axis == 2 else (padding, padding, 0, 0))
        length = x.shape[axis] - len(taps) + 1
        total = taps[0] * x.narrow(axis, 0, length)
        for i in range(1, len(taps)):
            total = total + taps[i] * x.narrow(axis, i, length)
        x = total[:, :, ::stride] if axis == 2 else total[:, :, :, ::stride]
    return x


def _layer(layer: SynthesisLayer, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    styles: torch.Tensor = layer.affine(w)
    demodulation = (styles.square() @ layer.weight.square().sum((2, 3)).T + DEMODULATION_EPSILON).rsqrt()
    weight = layer.weight.to(x.dtype)
    x = x * styles[:, :, None, None].to(x.dtype)
    if layer.up:
        x = filtered(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)
    else:
        x = functional.conv2d(x, weight, padding=1)
    x = x * demodulation[:, :, None, None].to(x.dtype) + layer.bias[:, None, None].to(x.dtype)
    return functional.leaky_relu(x, 0.2) * SQRT2


def _rgb(torgb: ToRGB, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    styles = torgb.affine(w) * torgb.style_gain
    rgb = functional.conv2d(x * styles[:, :, None, None].to(x.dtype), torgb.weight.to(x.dtype))
    return rgb.float() + torgb.bias[:, None, None]
