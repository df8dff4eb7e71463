"""How far pictures are from what a model can draw.

Source: Gabbay & Hoshen 2019, Eq. 2: the loss that is left. Differs in a second number beside it: a picture with little
in it, such as a wall, leaves little loss to any model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reanimate.inversion.invert import Inverter
from reanimate.restore.priors import OnPass


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """From a model's domain."""

    loss: torch.Tensor
    """[N] Eq. 2, in the units of the loss."""
    share: torch.Tensor
    """[N] of what each picture's mean colour leaves of the loss: 0 is drawn perfectly, 1 no better than one colour."""
    passes: int


def distance(inverter: Inverter, pictures: torch.Tensor, on_pass: OnPass | None = None) -> Distance:
    """Of pictures [N, 3, R, R]."""
    solution = inverter.first(pictures, on_pass)
    with torch.no_grad():
        flat = pictures.mean((2, 3), keepdim=True).expand_as(pictures)
        of_flat = inverter.loss(flat, inverter.loss.prepare(pictures)).cpu()
    return Distance(solution.loss, solution.loss / of_flat.clamp_min(1e-6), solution.passes)
