from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch

from reanimate.generators.mapping import Activation, MappingConfig, MappingNetwork, activate

WIDTHS: list[dict[str, Any]] = [
    {},
    {"mapping_layers": 1},
    {"mapping_features": 9},
    {"c_dim": 5, "label": 2},
    {"c_dim": 5, "embed_features": 3, "mapping_features": 11, "mapping_layers": 4},
    {"mapping_lr_multiplier": 1.0, "mapping_activation": "linear"},
    {"mapping_activation": "swish"},
]


def network(**options: Any) -> MappingNetwork:
    torch.manual_seed(0)
    config = MappingConfig(**{"z_dim": 6, "w_dim": 7, "mapping_layers": 3, **options})
    made = MappingNetwork(config).requires_grad_(False)
    for value in made.state_dict().values():
        value.add_(0.3 * torch.randn(value.shape))
    return made


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.square(x).mean(1, keepdims=True) + 1e-8)


def published(made: MappingNetwork, z: torch.Tensor, c: torch.Tensor | None) -> np.ndarray:
    """The official code's sums, in numpy."""
    state = {name: value.double().numpy() for name, value in made.state_dict().items()}
    x = unit(z.double().numpy())
    if c is not None:
        embedded = c.double().numpy() @ state["embed.weight"].T / math.sqrt(c.shape[1]) + state["embed.bias"]
        x = np.concatenate([x, unit(embedded)], 1)
    lr = made.config.mapping_lr_multiplier
    for i in range(made.config.mapping_layers):
        x = x @ state[f"fc{i}.weight"].T * (lr / math.sqrt(x.shape[1])) + state[f"fc{i}.bias"] * lr
        if made.config.mapping_activation == "lrelu":
            x = np.where(x > 0, x, 0.2 * x) * math.sqrt(2)
        elif made.config.mapping_activation == "swish":
            x = x / (1 + np.exp(-x)) * math.sqrt(2)
    return x


@pytest.mark.parametrize("options", WIDTHS, ids=str)
def test_codes_are_those_of_the_official_sums(options: dict[str, Any]) -> None:
    made = network(**options)
    z, c_dim = torch.randn(3, 6), options.get("c_dim", 0)
    c = torch.rand(3, c_dim) if c_dim else None
    w = made(z, c)
    assert w.shape == (3, 7)
    assert np.allclose(w.numpy(), published(made, z, c), atol=1e-5)


def test_class_of_the_configuration_is_drawn_where_none_is_given() -> None:
    made, z = network(c_dim=5, label=2), torch.randn(3, 6)
    second, third = (torch.eye(5)[[i]].expand(3, -1) for i in (1, 2))
    assert torch.equal(made(z), made(z, third))
    assert not torch.allclose(made(z), made(z, second), atol=1e-3)


@pytest.mark.parametrize("label", [-1, 3])
def test_class_that_there_is_not_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match="no class"):
        MappingConfig(c_dim=3, label=label)
    with pytest.raises(ValueError, match="no class 1 among 0"):
        MappingConfig(label=1)


@pytest.mark.parametrize("options", WIDTHS, ids=str)
def test_weights_are_counted_without_making_them(options: dict[str, Any]) -> None:
    made = network(**options)
    layers = [value for name, value in made.named_parameters() if name.startswith("fc") and "weight" in name]
    assert made.config.mapping_weights == sum(value.numel() for value in layers)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_activations_are_the_functions_of_their_name_times_their_gain(activation: Activation) -> None:
    x = np.linspace(-3, 3, 13)
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    wanted = {
        "lrelu": np.maximum(x, 0.2 * x) * math.sqrt(2),
        "linear": x,
        "relu": np.maximum(x, 0) * math.sqrt(2),
        "tanh": np.tanh(x),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "elu": np.where(x > 0, x, np.expm1(x)),
        "selu": scale * np.where(x > 0, x, alpha * np.expm1(x)),
        "softplus": np.log1p(np.exp(x)),
        "swish": x / (1 + np.exp(-x)) * math.sqrt(2),
    }[activation]
    assert np.allclose(activate(torch.from_numpy(x), activation).numpy(), wanted, atol=1e-9)
