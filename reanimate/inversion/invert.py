"""Codes by optimisation: the picture that a generator makes of a code is brought close to a target.

Source: Gabbay & Hoshen 2019, Eq. 1. Differs, outside the `paper` preset, in the start (the encoder's guess, or the
frame before), in the optimiser, in the falling step size and in an L1 that is rounded off while steps are long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from reanimate.errors import ConfigError
from reanimate.generators.protocol import Generator
from reanimate.inversion.best import Best
from reanimate.inversion.encoder import Encoder
from reanimate.inversion.losses import Loss, LossName
from reanimate.inversion.optimisers import FRAME, STILL, Manner, Memory, OptimiserName, falling, make_optimiser
from reanimate.inversion.precision import Precision, working
from reanimate.inversion.spaces import (
    Init,
    Space,
    as_maps,
    check_noise,
    check_space,
    from_ws,
    mean,
    stored_noise,
    to_ws,
    w_rms,
    zeros,
)

Preset = Literal["fast", "best", "paper"]
NOISE_LR = 0.05  # Adam's step size for noise maps beside codes; their numbers are about one


@dataclass(frozen=True, slots=True)
class InvertParams:
    """What decides an inversion's numbers."""

    space: Space = "w+"
    loss: LossName = "multiscale"
    norm: int = 1
    """p of |a - b|^p."""
    init: Init = "encoder"
    """`encoder` falls back to `mean` for a model without one."""
    carried: float = 1.0
    """Share of an offset's change that the next frame inherits: less holds codes back, more fits better."""
    warm_start: bool = True
    """Frames begin where the frame before ended, and those of a shot share an offset from the encoder."""
    lanes: int = 2
    """Frames in one pass: runs of a clip, solved side by side. More fill a GPU, fit less well, and show seams."""
    first_steps: int = 300
    """Passes for a still, and for what the frames of a shot share."""
    steps: int = 40
    """Passes for a frame."""
    optimiser: OptimiserName = "curvature"
    lr: float = 1.0
    """Step size for a still or what is shared, in units of W's RMS; about 0.25 suits adam."""
    warm_lr: float = 0.2
    """The same for a frame, which has less far to go; about 0.05 suits adam."""
    decay: bool = True
    """Whether the step size falls to nothing over a frame's passes."""
    softness: float = 0.1
    """Differences of pixels, which span 2, below which the gradient of L1 shrinks: at first, for it falls with the step
    size. Steps do not jump to and fro over the many pixels that are almost right.
    """
    proximity: float = 0.0
    """Loss of a frame per squared distance from its start, in units of W's RMS: less flicker, less fit."""
    noise: bool = False
    """Whether the noise maps of a picture are optimised beside its code."""
    target_loss: float = 0.0
    """Loss below which a frame is good enough."""
    patience: int = 0
    """Passes without improvement after which a picture is done; 0 never stops early, since steps that fall gain most at
    their end.
    """
    tolerance: float = 1e-3
    """What counts as improvement, as a share of the loss."""
    precision: Precision = "auto"
    """Of convolutions in passes. `auto` is bfloat16 where that is much faster; it fits a hundredth less well."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.norm not in (1, 2):
            raise ConfigError("norm", f"{self.norm} is not 1 or 2")
        if min(self.first_steps, self.steps) < 0 or min(self.lr, self.warm_lr) <= 0:
            raise ConfigError("steps", "steps must not be negative and step sizes must be positive")
        if not 0 <= self.carried <= 1:
            raise ConfigError("carried", f"{self.carried} is not from 0 to 1")
        if not 0 <= self.softness < 2:
            raise ConfigError("softness", f"{self.softness} is not from 0 to 2")
        if self.lanes < 1:
            raise ConfigError("lanes", f"{self.lanes} is not at least 1")
        if min(self.proximity, self.target_loss) < 0:
            raise ConfigError("proximity", "proximity and target_loss must not be negative")
        if self.noise and self.space == "noise":
            raise ConfigError("noise", "space noise optimises the noise maps already")


PRESETS: dict[Preset, InvertParams] = {
    "fast": InvertParams(),
    "best": InvertParams(first_steps=1000, steps=100),
    "paper": InvertParams(
        init="zeros",
        warm_start=False,
        first_steps=1000,
        steps=1000,
        optimiser="adam",
        lr=1e-3,
        warm_lr=1e-3,
        decay=False,
        softness=0.0,
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
    """Generator passes with gradient, each of all N pictures."""
    memory: Memory
    """What was learnt of the loss's curvature."""
    noise: torch.Tensor | None = None
    """[N, P] noise maps, if they were optimised; see spaces.as_maps."""


class Inverter:
    """Inverts pictures [N, 3, R, R] with one generator, loss and set of parameters."""

    def __init__(self, generator: Generator, encoder: Encoder | None, loss: Loss, params: InvertParams) -> None:
        """Raises ConfigError: the generator has no such space, noise or precision. Steps are sized in `unit`."""
        check_space(params.space, generator.has_w, type(generator).__name__)
        if params.noise or params.space == "noise":
            check_noise(generator, type(generator).__name__)
        self.generator, self.loss, self.params = generator, loss, params
        self._working = working(generator, loss, params.precision)
        self.encoder = encoder if params.init == "encoder" else None
        plain = params.space in ("z", "noise") or params.init == "zeros"
        self.unit = 1.0 if plain else w_rms(generator)

    @torch.no_grad()
    def start(self, target: torch.Tensor) -> torch.Tensor:
        """[N, ...] the variable a key frame begins from."""
        if self.encoder is not None:
            return from_ws(self.generator, self.params.space, self.encoder(target))
        make = zeros if self.params.init == "zeros" else mean
        return make(self.generator, self.params.space, len(target))

    def follow(self, said: torch.Tensor, anchor: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """The variable frames begin from: what the encoder has `said` of them, and what was found before.

        `anchor` is the offset from the encoder that the shot shares, `offset` that of the frames before, both [N, ...].
        Carrying the offset rather than the code lets a face that returns to an earlier look return to an earlier code.
        """
        return said + torch.lerp(anchor, offset, self.params.carried)

    @property
    def shares(self) -> bool:
        """Whether frames of one shot share an offset from the encoder; without an encoder there is none to share."""
        return self.encoder is not None and self.params.space in ("w", "w+")

    def first(self, target: torch.Tensor, on_pass: Callable[[], None] | None = None) -> Solution:
        """Codes of pictures that nothing came before. Solved together, they learn curvature from each other."""
        params = self.params
        return self._optimise(target, self.start(target), params.first_steps, params.lr, Memory(), 0.0, on_pass, STILL)

    def shared(self, target: torch.Tensor) -> Solution:
        """The one offset [1, ...] from the encoder that suits N pictures of one person best, as a Solution's variable.

        What the encoder misses of a person is in all pictures alike, so that it moves nothing.
        """
        base, (generator, loss_of) = self.start(target), self._working
        prepared = loss_of.prepare(target)
        parts = [torch.zeros_like(base[:1], requires_grad=True)]

        def look(softness: float) -> torch.Tensor:
            loss = loss_of(self._drawn(generator, base + parts[0]), prepared, softness).sum() / len(target)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach().cpu().expand(1)

        params, memory = self.params, Memory()
        optimiser = make_optimiser(params.optimiser, parts[0], params.lr * self.unit, memory, STILL)
        best, passes = self._descend(parts, [optimiser], look, params.first_steps, None)
        return self._solution(target, base + best.parts[0], best, passes, memory)

    def next(self, target: torch.Tensor, start: torch.Tensor, memory: Memory | None = None) -> Solution:
        """Codes of pictures that begin at `start`, with the curvature that key frames have shown."""
        how = self.params
        memory = memory.copy() if memory is not None else Memory()
        return self._optimise(target, start, how.steps, how.warm_lr, memory, how.proximity, None, FRAME)

    def draw(self, variable: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """[N, 3, R, R] the pictures of a solution's variable and noise."""
        return self._drawn(self.generator, variable, noise)

    def _drawn(self, generator: Generator, variable: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        ws = to_ws(generator, self.params.space, variable)
        noise = variable if self.params.space == "noise" else noise
        return generator.synthesis(ws, "const" if noise is None else as_maps(generator, noise))

    @torch.no_grad()
    def _solution(
        self, target: torch.Tensor, variable: torch.Tensor, best: Best, passes: int, memory: Memory
    ) -> Solution:
        """What was found, as it is in float32."""
        noise = best.parts[1] if len(best.parts) > 1 else None
        loss = best.loss
        if self._working[0] is not self.generator:
            loss = self.loss(self.draw(variable, noise), self.loss.prepare(target)).cpu()
            loss = loss.view(len(best.loss), -1).mean(1)  # what pictures share has one
        ws = to_ws(self.generator, self.params.space, variable)
        return Solution(best.parts[0], ws, loss, passes, memory, noise)

    def _optimise(
        self,
        target: torch.Tensor,
        start: torch.Tensor,
        steps: int,
        lr: float,
        memory: Memory,
        proximity: float,
        on_pass: Callable[[], None] | None,
        manner: Manner,
    ) -> Solution:
        params, (generator, loss) = self.params, self._working
        prepared, parts = loss.prepare(target), [start.detach().clone()]
        if params.noise:
            parts.append(stored_noise(self.generator, len(target)))
        for part in parts:
            part.requires_grad_(True)

        def look(softness: float) -> torch.Tensor:
            losses = loss(self._drawn(generator, *parts), prepared, softness)
            if losses.requires_grad:
                # pictures of a batch do not share variables, so the sum's gradient is each one's own
                total = losses.sum()
                if proximity:
                    total = total + proximity * ((parts[0] - start) / self.unit).square().flatten(1).mean(1).sum()
                total.backward()  # type: ignore[no-untyped-call]
            return losses

        optimisers = [make_optimiser(params.optimiser, parts[0], lr * self.unit, memory, manner)]
        if len(parts) > 1:
            optimisers.append(torch.optim.Adam(parts[1:], lr=NOISE_LR))
        best, passes = self._descend(parts, optimisers, look, steps, on_pass)
        return self._solution(target, best.parts[0], best, passes, memory)

    def _descend(
        self,
        parts: list[torch.Tensor],
        optimisers: list[torch.optim.Optimizer],
        look: Callable[[float], torch.Tensor],
        steps: int,
        on_pass: Callable[[], None] | None,
    ) -> tuple[Best, int]:
        """The best parts on the way, and the passes. `look` gives the losses of their rows, and leaves gradients,
        of a loss that is rounded off by so much.
        """
        params, passes = self.params, 0
        best = Best(parts, params.patience, params.tolerance, params.target_loss)
        largest = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
        for step in range(steps):
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            left = [falling(optimiser, step / steps) if params.decay else 1.0 for optimiser in optimisers]
            best.look(parts, look(params.softness * left[0] if params.decay else 0.0))
            passes += 1
            if on_pass is not None:
                on_pass()
            if not best.goes_on():
                break
            for optimiser, size, share in zip(optimisers, largest, left, strict=True):
                optimiser.param_groups[0]["lr"] = size * share
                optimiser.step()
        with torch.no_grad():  # the last step has not been looked at yet
            best.look(parts, look(0.0))
        return best, passes
