"""z to w as StyleGAN2 and StyleGAN3 do it, and the linear layer and the activations that they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.base import check_label, normalized, one_hot
from reanimate.generators.frozen import Frozen

SQRT2 = math.sqrt(2)
Activation = Literal["lrelu", "linear", "relu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"]
_FUNCTIONS: dict[Activation, tuple[Callable[[torch.Tensor], torch.Tensor], float]] = {
    "lrelu": (lambda x: functional.leaky_relu(x, 0.2), SQRT2),
    "linear": (lambda x: x, 1.0),
    "relu": (functional.relu, SQRT2),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (functional.elu, 1.0),
    "selu": (functional.selu, 1.0),
    "softplus": (functional.softplus, 1.0),
    "swish": (functional.silu, SQRT2),
}


def activate(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation times its gain, which is to keep the second moment."""
    function, gain = _FUNCTIONS[activation]
    return function(x) * gain if gain != 1 else function(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """Sizes of a mapping network."""

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    """Classes of a conditional generator."""
    label: int = 0
    """The class that is drawn where none is given."""
    embed_features: int = 0
    """Width that a class is embedded in; 0 for w_dim."""
    mapping_layers: int = 8
    mapping_features: int = 0
    """Width of what all layers but the last give; 0 for w_dim."""
    mapping_lr_multiplier: float = 0.01
    mapping_activation: Activation = "lrelu"
    """`linear` is for models trained without an adversary, whose W is a fitted Gaussian."""

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        check_label(self.label, self.c_dim)

    @property
    def mapping_widths(self) -> list[int]:
        """Width of the input and of what each layer gives."""
        embedded = (self.embed_features or self.w_dim) if self.c_dim else 0
        between = [self.mapping_features or self.w_dim] * (self.mapping_layers - 1)
        return [self.z_dim + embedded, *between, self.w_dim]

    @property
    def mapping_weights(self) -> int:
        """Numbers in the layers' weights."""
        return sum(before * after for before, after in pairwise(self.mapping_widths))


class FullyConnected(nn.Module):
    """A linear layer whose weight is stored at unit scale, so that every layer learns at the same rate."""

    def __init__(self, in_features: int, out_features: int, bias_init: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self._frozen: Frozen[tuple[torch.Tensor, torch.Tensor]] = Frozen()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., out_features] for [..., in_features]."""
        return functional.linear(x, *self._frozen.of([self.weight, self.bias], self._scaled))

    def _scaled(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weight * self.weight_gain, self.bias * self.bias_gain


class MappingNetwork(nn.Module):
    """z to w."""

    w_avg: torch.Tensor

    def __init__(self, config: MappingConfig) -> None:
        super().__init__()
        self.config = config
        if config.c_dim:
            self.embed = FullyConnected(config.c_dim, config.embed_features or config.w_dim)
        widths = config.mapping_widths
        for i in range(config.mapping_layers):
            layer = FullyConnected(widths[i], widths[i + 1], lr_multiplier=config.mapping_lr_multiplier)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        """[N, D] for z [N, z_dim] and classes c [N, c_dim]; the configuration's class if there are none."""
        x = normalized(z)
        if self.config.c_dim:
            c = one_hot(self.config.label, self.config.c_dim, z) if c is None else c
            x = torch.cat([x, normalized(self.embed(c))], 1)
        for i in range(self.config.mapping_layers):
            x = activate(self.get_submodule(f"fc{i}")(x), self.config.mapping_activation)
        return x
