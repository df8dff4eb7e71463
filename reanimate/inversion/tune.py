"""A generator drawn towards one face, and the directions that its poses lie along.

Source: Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real Images". Differs in what is tuned on: not
one picture at its code, but a face in many poses, whose codes are learnt along with the kernels. Movements are tuned
too, and faces stay whole where several are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from reanimate.generators.protocol import Generator
from reanimate.images import to_tensor
from reanimate.inversion.losses import Loss
from reanimate.muon import Muon
from reanimate.types import UInt8

BATCH = 4  # poses in a pass
AT_REST = 7  # times as often as any other pose, the one at rest is drawn: it is no warp
LR = 0.015  # size of a step, of the RMS of a kernel
LR_CODES = 0.02  # Adam's largest, of that of W
ALONE = 2.5  # times as large, where kernels are fixed
BETAS = (0.9, 0.99)

Codes = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Codes [B, L, D] of directions [K, ...] and which [B] of the poses."""


def kernels(generator: Generator) -> dict[str, torch.nn.Parameter]:
    """The weights of a generator's convolutions, by name: what pictures are drawn with."""
    parameters = generator.named_parameters()  # type: ignore[attr-defined]
    return {name: weight for name, weight in parameters if weight.dim() == 4}


def tune(
    generator: Generator,
    loss: Loss,
    codes: Codes,
    start: torch.Tensor,
    unit: float,
    targets: UInt8,
    passes: int,
    fixed: bool,
    on_pass: Callable[[], None],
) -> torch.Tensor:
    """Directions like `start`, learnt in so many passes together with the generator's kernels, which are changed; or
    alone, where these are `fixed`.

    `codes` gives those [B, L, D] of some of the poses by directions; `targets` [M, R, R, 3] are their pictures, at rest
    in the first. `unit` is the size of codes.
    """
    tuned, random = [] if fixed else list(kernels(generator).values()), np.random.default_rng(0)
    directions = start.detach().clone().requires_grad_(True)
    how: list[tuple[torch.optim.Optimizer, list[float]]] = [
        (torch.optim.Adam([directions], betas=BETAS), [(ALONE if fixed else 1) * LR_CODES * unit])
    ]
    if tuned:
        sizes = [LR * float(weight.detach().square().mean().sqrt()) for weight in tuned]
        how.append((Muon([{"params": [weight]} for weight in tuned]), sizes))
    share = np.where(np.arange(len(targets)) == 0, AT_REST, 1.0)
    for weight in tuned:
        weight.requires_grad_(True)
    for step in range(passes):
        chosen = random.choice(len(targets), min(BATCH, len(targets)), replace=False, p=share / share.sum())
        # all poses of a large model would fill gigabytes as numbers, and what the loss knows of them many more
        wanted = loss.prepare(to_tensor(targets[chosen]).to(start.device))
        loss(generator.synthesis(codes(directions, torch.from_numpy(chosen))), wanted).mean().backward()  # type: ignore[no-untyped-call]
        for optimiser, sizes in how:
            for group, size in zip(optimiser.param_groups, sizes, strict=True):
                group["lr"] = size * 0.5 * (1 + math.cos(math.pi * step / passes))
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        on_pass()
    for weight in tuned:
        weight.requires_grad_(False)
    return directions.detach()
