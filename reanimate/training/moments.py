"""Keeping the encoder's codes where the generator's own codes are: their mean and covariance are to be the same."""

from __future__ import annotations

import torch
from torch import nn

STEPS = 200  # over which moments are averaged: a batch alone knows little of 512 dimensions


class Moments(nn.Module):
    """Running mean and covariance of codes [N, D]; the gradient goes to the latest batch as if it were all there is."""

    mean: torch.Tensor
    square: torch.Tensor
    seen: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("square", torch.zeros(width, width))
        self.register_buffer("seen", torch.zeros([]))

    def take(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [D] and covariance [D, D] after another batch."""
        codes = codes.float()
        self.seen += 1
        fresh = 1 / self.seen.clamp_max(STEPS)  # the first batch stands alone
        latest, latest_square = codes.mean(0), codes.T @ codes / len(codes)
        self.mean = self.mean.lerp(latest.detach(), fresh)
        self.square = self.square.lerp(latest_square.detach(), fresh)
        mean = self.mean + (latest - latest.detach())
        square = self.square + (latest_square - latest_square.detach())
        return mean, square - torch.outer(mean, mean)

    def now(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [D] and covariance [D, D] so far."""
        return self.mean, self.square - torch.outer(self.mean, self.mean)


def mismatch(found: tuple[torch.Tensor, torch.Tensor], wanted: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """How far mean and covariance are from those wanted, as a share of these: 0 is a match."""
    (mean, covariance), (other, spread) = found, wanted
    centre = (mean - other).square().sum() / spread.diagonal().sum().clamp_min(1e-8)
    return centre + (covariance - spread).square().sum() / spread.square().sum().clamp_min(1e-8)
