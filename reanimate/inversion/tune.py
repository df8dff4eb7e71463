"""A generator drawn towards one face: its kernels learn what no code says of it.

Source: Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real Images". Differs in what is tuned on: not
one picture at its code, but a face at rest and in many poses, at the codes that it moves through, so that movements are
tuned too, and faces stay whole where several are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from reanimate.generators.protocol import Generator
from reanimate.inversion.losses import Loss

BATCH = 4  # poses in a pass, the one at rest always among them
LR = 0.003  # Adam's largest step size, of the RMS of a kernel
BETAS = (0.9, 0.99)


def kernels(generator: Generator) -> dict[str, torch.nn.Parameter]:
    """The weights of a generator's convolutions, by name: what pictures are drawn with."""
    parameters = generator.named_parameters()  # type: ignore[attr-defined]
    return {name: weight for name, weight in parameters if weight.dim() == 4}


def tune(
    generator: Generator,
    loss: Loss,
    codes: torch.Tensor,
    targets: torch.Tensor,
    passes: int,
    on_pass: Callable[[], None],
) -> None:
    """Change a generator's kernels, by so many passes, so that codes [M, L, D] draw targets [M, 3, R, R], M > 1.

    The first, a picture that is no warp, is in every pass and weighs as much as the others, which are drawn anew.
    """
    tuned, random = list(kernels(generator).values()), np.random.default_rng(0)
    sizes = [LR * float(weight.detach().square().mean().sqrt()) for weight in tuned]
    groups = [{"params": [weight], "lr": size} for weight, size in zip(tuned, sizes, strict=True)]
    optimiser = torch.optim.Adam(groups, betas=BETAS)
    for weight in tuned:
        weight.requires_grad_(True)
    for step in range(passes):
        others = 1 + random.choice(len(codes) - 1, min(BATCH, len(codes)) - 1, replace=False)
        chosen = torch.from_numpy(np.append(0, others))
        for group, size in zip(optimiser.param_groups, sizes, strict=True):
            group["lr"] = size * 0.5 * (1 + math.cos(math.pi * step / passes))
        optimiser.zero_grad(set_to_none=True)
        # what the loss needs of all targets at once would fill gigabytes in large models
        losses = loss(generator.synthesis(codes[chosen]), loss.prepare(targets[chosen]))
        (losses[0] + losses[1:].mean()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        on_pass()
    for weight in tuned:
        weight.requires_grad_(False)
        weight.grad = None
