"""What can stand in for the knowledge that a picture lacks: one protocol, and the priors that need no training of
their own. Deep Image Prior stands in `dip`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from reanimate.generators.protocol import Generator
from reanimate.inversion.encoder import Encoder
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import Loss
from reanimate.inversion.spaces import to_ws
from reanimate.restore.degradations import BLACK, Downsampling, bicubic, enlarge, fill, join
from reanimate.restore.losses import DownsampledLoss, MaskedLoss

OnPass = Callable[[], None]


class Prior(Protocol):
    """Draws whole pictures from what is known of them. Pictures are [N, 3, R, R] in [-1, 1], holes [N, 1, R, R]."""

    def reconstruct(self, pictures: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """The nearest pictures [N, 3, R, R] that the prior knows."""

    def inpaint(self, pictures: torch.Tensor, hole: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """Whole pictures [N, 3, R, R] that agree with what surrounds the holes."""

    def upscale(
        self, small: torch.Tensor, factor: int, how: Downsampling, on_pass: OnPass | None = None
    ) -> torch.Tensor:
        """Pictures [N, 3, R, R] that `how` would make small [N, 3, R/factor, R/factor]."""


class Plain:
    """No knowledge at all: holes are filled smoothly from around them, enlargements are bicubic."""

    def reconstruct(self, pictures: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior: nothing is lacking."""
        del on_pass
        return pictures

    def inpaint(self, pictures: torch.Tensor, hole: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior."""
        del on_pass
        return fill(pictures, hole)

    def upscale(
        self, small: torch.Tensor, factor: int, how: Downsampling, on_pass: OnPass | None = None
    ) -> torch.Tensor:
        """See Prior."""
        del on_pass
        return bicubic(small, factor, how)


@dataclass(frozen=True, slots=True, eq=False)
class GeneratorPrior:
    """What a generator draws of the code that explains what is known.

    Source: Gabbay & Hoshen 2019, section 4. Differs in the start where the encoder gives it. It is shown the picture
    with its hole filled by the mean of what the generator draws, or the enlargement: shown a smooth hole, it would find
    the code of a face without a mouth, and what the hole holds is never looked at again.
    """

    generator: Generator
    encoder: Encoder | None
    loss: Loss
    params: InvertParams

    def reconstruct(self, pictures: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior."""
        return self._draw(pictures, self.loss, on_pass)

    def inpaint(self, pictures: torch.Tensor, hole: torch.Tensor, on_pass: OnPass | None = None) -> torch.Tensor:
        """See Prior."""
        return self._draw(self._guess(pictures, hole), MaskedLoss(self.loss, hole), on_pass)

    def upscale(
        self, small: torch.Tensor, factor: int, how: Downsampling, on_pass: OnPass | None = None
    ) -> torch.Tensor:
        """See Prior."""
        return self._draw(enlarge(small, factor, how), DownsampledLoss(self.loss, factor, how), on_pass)

    @torch.no_grad()
    def _guess(self, pictures: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        if self.encoder is None or self.params.init != "encoder":
            return pictures.masked_fill(hole, BLACK)
        mean = to_ws(self.generator, "w", self.generator.w_avg.expand(len(pictures), 1, -1))
        return join(self.generator.synthesis(mean).clamp(-1, 1), pictures, hole)

    def _draw(self, target: torch.Tensor, loss: Loss, on_pass: OnPass | None) -> torch.Tensor:
        inverter = Inverter(self.generator, self.encoder, loss, self.params)
        solution = inverter.first(target, on_pass)
        with torch.no_grad():
            return inverter.draw(solution.variable, solution.noise).clamp(-1, 1)
