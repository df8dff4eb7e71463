"""Codes by optimisation: the picture that a generator makes of a code is brought close to a target.

Source: Gabbay & Hoshen 2019, Eq. 1. Differs, outside the `paper` preset, in the start (the encoder's guess, or the
frame before), in the falling step size and in stopping when nothing improves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from reanimate.errors import ConfigError
from reanimate.generators.protocol import Generator
from reanimate.inversion.encoder import Encoder
from reanimate.inversion.losses import Loss, LossName
from reanimate.inversion.spaces import Init, Space, check_space, from_ws, mean, to_ws, zeros

Preset = Literal["fast", "best", "paper"]
CARRIED = 0.5  # share of an offset's change that the next frame inherits; at 1, codes drift along the clip


@dataclass(frozen=True, slots=True)
class InvertParams:
    """What decides an inversion's numbers."""

    space: Space = "w+"
    loss: LossName = "multiscale"
    norm: int = 1
    """p of |a - b|^p."""
    init: Init = "encoder"
    """Of a first frame; `encoder` falls back to `mean` for a model without one."""
    warm_start: bool = True
    """Later frames begin where the frame before ended."""
    first_steps: int = 250
    """Passes for a still, a clip's first frame and the first frame after a cut."""
    steps: int = 10
    """Passes for any later frame."""
    lr: float = 0.25
    """Adam's step size for a first frame, in units of W's RMS."""
    warm_lr: float = 0.05
    """The same for a later frame, which has less far to go."""
    decay: bool = True
    """Whether the step size falls to nothing over a frame's passes (half a cosine)."""
    patience: int = 30
    """Passes without improvement after which a frame is done; 0 never stops early."""
    tolerance: float = 1e-3
    """What counts as improvement, as a share of the loss."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.norm not in (1, 2):
            raise ConfigError("norm", f"{self.norm} is not 1 or 2")
        if min(self.first_steps, self.steps) < 0 or min(self.lr, self.warm_lr) <= 0:
            raise ConfigError("steps", "steps must not be negative and step sizes must be positive")


PRESETS: dict[Preset, InvertParams] = {
    "fast": InvertParams(),
    "best": InvertParams(first_steps=1000, steps=100, patience=60),
    "paper": InvertParams(
        init="zeros", warm_start=False, first_steps=1000, steps=1000, lr=1e-3, warm_lr=1e-3, decay=False, patience=0
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The best codes that were met, and what they cost."""

    variable: torch.Tensor
    """[N, ...] what was optimised, in the space that was asked for."""
    ws: torch.Tensor
    """[N, L, D]"""
    loss: torch.Tensor
    """[N]"""
    passes: int
    """Generator passes with gradient."""


class Inverter:
    """Inverts pictures [N, 3, R, R] with one generator, loss and set of parameters."""

    def __init__(self, generator: Generator, encoder: Encoder | None, loss: Loss, params: InvertParams) -> None:
        """Raises ConfigError: the generator has no such space."""
        check_space(params.space, generator.has_w, type(generator).__name__)
        self.generator, self.loss, self.params = generator, loss, params
        self.encoder = encoder if params.init == "encoder" else None
        self._unit = 1.0 if params.space == "z" or params.init == "zeros" else w_rms(generator)

    @torch.no_grad()
    def start(self, target: torch.Tensor) -> torch.Tensor:
        """[N, ...] the variable a first frame begins from."""
        if self.encoder is not None:
            return from_ws(self.generator, self.params.space, self.encoder(target))
        make = zeros if self.params.init == "zeros" else mean
        return make(self.generator, self.params.space, len(target))

    @torch.no_grad()
    def follow(
        self,
        before: torch.Tensor,
        target_before: torch.Tensor,
        target: torch.Tensor,
        first: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The variable a later frame begins from: the frame before's, moved as the encoder sees the face move.

        Carrying the offset between code and encoder, rather than the code alone, lets a face that returns to an
        earlier look return to an earlier code. With `first`, the variable and target of the shot's first frame, half
        of what the offset has changed since then is taken back: what each frame's passes add cannot pile up.
        """
        if self.encoder is None or self.params.space == "z":
            return before
        offset = before - self.start(target_before)
        if first is not None:
            offset = torch.lerp(first[0] - self.start(first[1]), offset, CARRIED)
        return self.start(target) + offset

    def first(self, target: torch.Tensor, on_pass: Callable[[], None] | None = None) -> Solution:
        """Codes of pictures that nothing came before."""
        params = self.params
        return self._optimise(target, self.start(target), params.first_steps, params.lr, on_pass)

    def next(self, target: torch.Tensor, start: torch.Tensor) -> Solution:
        """Codes of pictures that begin at `start`."""
        return self._optimise(target, start, self.params.steps, self.params.warm_lr, None)

    def _optimise(
        self, target: torch.Tensor, start: torch.Tensor, steps: int, lr: float, on_pass: Callable[[], None] | None
    ) -> Solution:
        params = self.params
        prepared = self.loss.prepare(target)
        variable = start.detach().clone().requires_grad_(True)
        best, best_loss = variable.detach().clone(), torch.full([len(target)], math.inf)
        plateau = _Plateau(len(target), params.patience, params.tolerance)
        optimiser = torch.optim.Adam([variable], lr=lr * self._unit)
        passes = 0
        for step in range(steps):
            if params.decay:
                optimiser.param_groups[0]["lr"] = lr * self._unit * 0.5 * (1 + math.cos(math.pi * step / steps))
            losses = self.loss(self.generator.synthesis(to_ws(self.generator, params.space, variable)), prepared)
            passes += 1
            best, best_loss = _keep_better(variable, losses, best, best_loss, plateau.waiting)
            if on_pass is not None:
                on_pass()
            if not plateau.goes_on(best_loss):
                break
            optimiser.zero_grad(set_to_none=True)
            # pictures of a batch do not share variables, so the sum's gradient is each one's own
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():  # the last step has not been looked at yet
            losses = self.loss(self.generator.synthesis(to_ws(self.generator, params.space, variable)), prepared)
            best, best_loss = _keep_better(variable, losses, best, best_loss, plateau.waiting)
            return Solution(best, to_ws(self.generator, params.space, best), best_loss, passes)


class _Plateau:
    """Which pictures of a batch still get better. Each is judged alone: its result does not depend on the others'."""

    def __init__(self, count: int, patience: int, tolerance: float) -> None:
        self.patience, self.tolerance = patience, tolerance
        self.waiting = torch.ones(count, dtype=torch.bool)
        """[N] False for a picture that is done, and keeps what it has."""
        self._marked, self._since = torch.full([count], math.inf), torch.zeros(count, dtype=torch.int64)

    def goes_on(self, best_loss: torch.Tensor) -> bool:
        """Take in the best losses [N] so far; False once every picture is done."""
        improved = best_loss < self._marked * (1 - self.tolerance)
        self._marked = torch.where(improved, best_loss, self._marked)
        self._since = torch.where(improved, 0, self._since + 1)
        if self.patience:
            self.waiting &= self._since < self.patience
        return bool(self.waiting.any())


def _keep_better(
    variable: torch.Tensor, losses: torch.Tensor, best: torch.Tensor, best_loss: torch.Tensor, waiting: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    now = losses.detach().cpu()
    better = (now < best_loss) & waiting
    pick = better.view(-1, *[1] * (variable.ndim - 1)).to(variable.device)
    return torch.where(pick, variable.detach(), best), torch.where(better, now, best_loss)


@torch.no_grad()
def w_rms(generator: Generator) -> float:
    """RMS of W about its mean, from 1024 seeded draws: the unit of step sizes."""
    z = torch.randn(1024, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg.device)
    w = generator.mapping(z)[:, 0]
    return max(float((w - w.mean(0)).square().mean().sqrt()), 1e-6)
