"""Passes whose convolutions work in bfloat16, for devices that multiply it several times as fast as float32.

Codes, styles, demodulation, what layers add to the picture and the loss stay float32; pictures that anybody sees are
drawn in float32 throughout.
"""

from __future__ import annotations

import copy
from typing import Literal, TypeVar

import torch
from torch import nn

from reanimate.errors import ConfigError
from reanimate.generators.protocol import Generator
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.inversion.losses import FaceLoss, Loss

_FLOAT32 = ("mapping_network", "affine", "noise_strength")  # parts of names
Network = TypeVar("Network", bound=nn.Module)
Precision = Literal["auto", "float32", "bfloat16"]


def working(generator: Generator, loss: Loss, precision: Precision) -> tuple[Generator, Loss]:
    """A generator and a loss as passes see them: themselves, or copies that work in bfloat16.

    Raises:
        ConfigError: see `resolved`.
    """
    if resolved(generator, precision) == "float32" or not isinstance(generator, StyleGAN2):
        return generator, loss
    if isinstance(loss, FaceLoss):
        loss = FaceLoss(in_bfloat16(loss.network), loss.pixels.norm)
    return in_bfloat16(generator), loss


def resolved(generator: Generator, precision: Precision) -> Literal["float32", "bfloat16"]:
    """What passes work in: by `auto`, bfloat16 where the device multiplies matrices of it and the family knows it.

    Raises:
        ConfigError: bfloat16 is asked of a family that knows float32 only.
    """
    knows = isinstance(generator, StyleGAN2)
    if precision == "bfloat16" and not knows:
        raise ConfigError("precision", f"{type(generator).__name__} works in float32 only; leave precision at auto")
    if precision == "auto":
        return "bfloat16" if knows and multiplies_bfloat16(generator.w_avg.device) else "float32"
    return precision


def in_bfloat16(network: Network) -> Network:
    """A copy whose convolutions work in bfloat16."""
    other = copy.deepcopy(network)
    for name, value in lowered(other).items():
        other.get_parameter(name).data = value.detach()
    return other


def lowered(network: nn.Module) -> dict[str, torch.Tensor]:
    """{name: parameter}, bfloat16 where convolutions read it; gradients go to the parameters themselves."""
    return {
        name: value if any(part in name for part in _FLOAT32) else value.bfloat16()
        for name, value in network.named_parameters()
    }


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster: CPUs with AMX or AVX512_BF16, and GPUs since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
