"""Where a code is looked for: z, w (one for all layers), w+ (one per layer), or the noise maps at the mean w.

Source: Gabbay & Hoshen 2019, section 3 and Table 2, in StyleGAN2's letters (their s is z here, their z is w).
"""

from __future__ import annotations

from typing import Literal

import torch

from reanimate.errors import ConfigError
from reanimate.generators.protocol import Generator

Space = Literal["z", "w", "w+", "noise"]
Init = Literal["zeros", "mean", "encoder"]


def check_space(space: Space, has_w: bool, model: str) -> None:
    """Return quietly if a model's codes can live in a space.

    Raises:
        ConfigError: they cannot: it is not a style generator.
    """
    if space != "z" and not has_w:
        raise ConfigError("space", f"{model} is no style generator and has no {space}; use z")


def check_noise(generator: Generator, model: str) -> None:
    """Return quietly if a model draws anything of its noise maps.

    Raises:
        ConfigError: it has none, or all their strengths are zero.
    """
    if not generator.noise_maps():
        raise ConfigError("noise", f"{model} draws nothing of noise maps; leave them fixed")


def to_ws(generator: Generator, space: Space, variable: torch.Tensor) -> torch.Tensor:
    """[N, L, D] codes of what is optimised: z [N, z_dim], w [N, 1, D], w+ [N, L, D], or noise [N, P], whose code is
    the mean.
    """
    if space == "noise":
        return mean(generator, "w+", len(variable))
    if space == "z":
        return generator.mapping(variable)
    return variable.expand(-1, generator.num_ws, -1) if space == "w" else variable


@torch.no_grad()
def w_rms(generator: Generator) -> float:
    """RMS of W about its mean, from 1024 seeded draws: the unit of step sizes."""
    z = torch.randn(1024, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg.device)
    w = generator.mapping(z)[:, 0]
    return max(float((w - w.mean(0)).square().mean().sqrt()), 1e-6)


def zeros(generator: Generator, space: Space, count: int) -> torch.Tensor:
    """The paper's start."""
    device = generator.w_avg.device
    if space == "z":
        return torch.zeros(count, generator.z_dim, device=device)
    if space == "noise":
        return torch.zeros(count, noise_size(generator), device=device)
    return torch.zeros(count, generator.num_ws if space == "w+" else 1, generator.w_dim, device=device)


def mean(generator: Generator, space: Space, count: int) -> torch.Tensor:
    """The centre of the space: the mean of W, or a z or noise of zeros."""
    start = zeros(generator, space, count)
    return start if space in ("z", "noise") else start + generator.w_avg


def from_ws(generator: Generator, space: Space, ws: torch.Tensor) -> torch.Tensor:
    """The variable nearest to codes [N, L, D]: w+ as it is, w the mean over layers; zeros for z and noise, which have
    no way back.
    """
    if space == "w+":
        return ws
    return ws.mean(1, keepdim=True) if space == "w" else zeros(generator, space, len(ws))


def noise_size(generator: Generator) -> int:
    """P, numbers in all noise maps of one picture."""
    return sum(stored.numel() for stored in generator.noise_maps())


def stored_noise(generator: Generator, count: int) -> torch.Tensor:
    """[N, P] the noise that is stored, once for each picture."""
    return torch.cat([stored.flatten() for stored in generator.noise_maps()]).repeat(count, 1)


def as_maps(generator: Generator, flat: torch.Tensor) -> list[torch.Tensor]:
    """Maps [N, 1, H, W] for `synthesis` of numbers [N, P]."""
    maps = generator.noise_maps()
    parts = torch.split(flat, [stored.numel() for stored in maps], 1)
    return [part.view(-1, 1, *stored.shape) for part, stored in zip(parts, maps, strict=True)]
