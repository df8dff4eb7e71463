"""What turns gradients into steps: torch's own optimisers, and one that learns the curvature of a model's loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

OptimiserName = Literal["adam", "sgd", "curvature"]
RANK = 400  # gradients that are remembered; from 100 on more help less and less
LEARN_EVERY = 5  # steps between decompositions of the remembered gradients
_EARLY = 20  # steps in which every gradient is news
_FLOOR = 0.1  # share of the mean second moment that no direction is thought to be flatter than
_SMALLEST = 1e-6  # share of the largest second moment below which a direction is rounding


@dataclass(frozen=True, slots=True)
class Manner:
    """How curvature turns gradients into steps."""

    momentum: float
    power: float
    """Of second moments, that gradients are divided by: a half is AdaGrad's, 1 Newton's if moments were curvature."""


STILL = Manner(0.8, 0.5)  # begins far from its end, with a curvature that is still learnt; what frames share does too
FRAME = Manner(0.7, 0.75)  # begins near its end, with a curvature that others have shown


class Memory:
    """The last gradients of pictures that were solved together, and what they say of the loss's curvature.

    Pictures of one model bend the loss alike, so that every gradient is evidence for all of them.
    """

    def __init__(self, rows: torch.Tensor | None = None) -> None:
        """`rows` [n, P], the oldest first, continue what `rows` of another memory gave."""
        self._gradients = self._gram = torch.empty(0)  # [RANK, P], a ring, and [RANK, RANK]
        self._basis: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._count = 0
        if rows is not None:
            self._begin(rows)
            self._gradients[: len(rows)] = rows
            self._gram = self._gradients @ self._gradients.T
            self._count = len(rows)

    def _begin(self, like: torch.Tensor) -> None:
        self._gradients, self._gram = like.new_zeros(RANK, like.shape[1]), like.new_zeros(RANK, RANK)

    def rows(self) -> torch.Tensor | None:
        """[n, P] the gradients that are remembered, the oldest first; None before the first."""
        if not self._count:
            return None
        return self._gradients[: self._count] if self._count <= RANK else self._gradients.roll(-self._count % RANK, 0)

    def copy(self) -> Memory:
        """Another memory of the same."""
        other = Memory()
        other._basis, other._count = self._basis, self._count
        other._gradients, other._gram = self._gradients.clone(), self._gram.clone()
        return other

    def add(self, gradients: torch.Tensor) -> None:
        """Remember gradients [N, P] in place of the oldest."""
        if not self._count:
            self._begin(gradients)
        for row in gradients:
            at = self._count % RANK
            self._gradients[at] = row
            self._gram[at] = self._gram[:, at] = self._gradients @ row
            self._count += 1

    def _learn(self, power: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients [n, P] and directions as their sums [n, K], how much shorter steps along these are than elsewhere
        [K], and the step elsewhere [].
        """
        used = min(self._count, RANK)
        # a few hundred squared: faster on the CPU, and in double precision, as small moments are differences
        moments, vectors = torch.linalg.eigh(self._gram[:used, :used].double().cpu() / used)
        kept = moments > moments[-1].clamp_min(1e-30) * _SMALLEST
        moments, vectors = moments[kept], vectors[:, kept] / (moments[kept] * used).sqrt()
        floor = _FLOOR * moments.mean() if len(moments) else torch.ones([], dtype=torch.float64)
        # a step is about one long along every known direction: as long in all as one of Adam's, one per coordinate
        scale = floor.new_tensor(max(1.0, self._gradients.shape[1] / RANK)).sqrt()
        if len(moments):  # that long in all by any power
            scale *= ((moments / (moments + floor)).sum() / (moments / (moments + floor) ** (2 * power)).sum()).sqrt()
        elsewhere = scale / floor**power
        change = scale / (moments + floor) ** power - elsewhere
        # the ring goes on; to copy it costs less than to add up every direction
        gradients = self._gradients[:used].clone()
        vectors, change, elsewhere = (
            part.to(gradients.device, gradients.dtype) for part in (vectors, change, elsewhere)
        )
        return gradients, vectors, change, elsewhere

    def shaped(self, gradients: torch.Tensor, power: float, *, afresh: bool) -> torch.Tensor:
        """Gradients [N, P] divided by a power of the second moment along each direction that is known.

        `afresh` looks at all that was added; otherwise what was learnt last is used, if there is anything.
        """
        if self._basis is None or afresh:
            self._basis = self._learn(power)
        known, vectors, change, elsewhere = self._basis
        along = gradients @ known.T @ vectors * change
        return gradients * elsewhere + along @ vectors.T @ known


class SharedCurvature(torch.optim.Optimizer):
    """Full-matrix AdaGrad of low rank, whose memory all pictures of a batch write and read.

    Adam scales every coordinate by itself; here whole directions are scaled, those that gradients have shown. The step
    size is about the RMS step of a coordinate, as Adam's is, if all directions were known.

    Source: Agarwal et al. 2019, "Efficient Full-Matrix Adaptive Regularization". Differs in that the window is shared
    by a batch, decomposed every few steps, and regularised by a share of the mean second moment; and in the power of
    moments, see Manner.
    """

    def __init__(self, params: list[torch.Tensor], lr: float, memory: Memory, manner: Manner = STILL) -> None:
        super().__init__(params, {"lr": lr})
        self.memory, self._steps = memory, 0
        self._manner, self._average = manner, torch.zeros_like(params[0]).flatten(1)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the one parameter, [N, ...] for N pictures, against its gradient."""
        del closure
        (variable,) = self.param_groups[0]["params"]
        gradient = variable.grad.flatten(1).nan_to_num(0.0, 0.0, 0.0)  # of a picture that overflowed
        self.memory.add(gradient)
        afresh = self._steps < _EARLY or self._steps % LEARN_EVERY == 0
        self._steps += 1
        momentum, power = self._manner.momentum, self._manner.power
        self._average.lerp_(gradient, 1 - momentum)
        step = self.memory.shaped(self._average / (1 - momentum**self._steps), power, afresh=afresh)
        variable.sub_(step.view_as(variable), alpha=self.param_groups[0]["lr"])


def falling(optimiser: torch.optim.Optimizer, progress: float) -> float:
    """Share of the largest step size that is left after a share of the steps: a straight line for curvature, which
    gains most at its end, and half a cosine for others, as is usual.
    """
    if isinstance(optimiser, SharedCurvature):
        return 1 - progress
    return 0.5 * (1 + math.cos(math.pi * progress))


def make_optimiser(
    name: OptimiserName, variable: torch.Tensor, lr: float, memory: Memory, manner: Manner = STILL
) -> torch.optim.Optimizer:
    """An optimiser of one variable [N, ...]; `memory` and `manner` are for the one that learns curvature.

    Raises:
        ValueError: an unknown name.
    """
    if name == "adam":
        return torch.optim.Adam([variable], lr=lr)
    if name == "sgd":
        return torch.optim.SGD([variable], lr=lr)
    if name == "curvature":
        return SharedCurvature([variable], lr, memory, manner)
    raise ValueError(f"no optimiser is called {name!r}")
