"""Where a code is looked for: z, w (one for all layers) or w+ (one per layer).

Source: Gabbay & Hoshen 2019, section 3 and Table 2, in StyleGAN2's letters (their s is z here, their z is w).
"""

from __future__ import annotations

from typing import Literal

import torch

from reanimate.errors import ConfigError
from reanimate.generators.protocol import Generator

Space = Literal["z", "w", "w+"]
Init = Literal["zeros", "mean", "encoder"]


def check_space(space: Space, has_w: bool, model: str) -> None:
    """Return quietly if a model's codes can live in a space.

    Raises:
        ConfigError: they cannot: it is not a style generator.
    """
    if space != "z" and not has_w:
        raise ConfigError("space", f"{model} is no style generator and has no {space}; use z")


def to_ws(generator: Generator, space: Space, variable: torch.Tensor) -> torch.Tensor:
    """[N, L, D] codes of what is optimised: z [N, z_dim], w [N, 1, D] or w+ [N, L, D]."""
    if space == "z":
        return generator.mapping(variable)
    return variable.expand(-1, generator.num_ws, -1) if space == "w" else variable


def zeros(generator: Generator, space: Space, count: int) -> torch.Tensor:
    """The paper's start."""
    device = generator.w_avg.device
    if space == "z":
        return torch.zeros(count, generator.z_dim, device=device)
    return torch.zeros(count, generator.num_ws if space == "w+" else 1, generator.w_dim, device=device)


def mean(generator: Generator, space: Space, count: int) -> torch.Tensor:
    """The centre of the space: the mean of W, or a z of zeros."""
    start = zeros(generator, space, count)
    return start if space == "z" else start + generator.w_avg


def from_ws(generator: Generator, space: Space, ws: torch.Tensor) -> torch.Tensor:
    """The variable nearest to codes [N, L, D]: w+ as it is, w the mean over layers; z has no way back, so zeros."""
    if space == "w+":
        return ws
    return ws.mean(1, keepdim=True) if space == "w" else zeros(generator, space, len(ws))
