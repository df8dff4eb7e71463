"""Swap consistency: a movement's difference of codes, added to another face's code, moves that face alike.

It trains Eq. 9 and 10 of Gabbay & Hoshen 2019, that codes add, directly: faces of a training set are made to perform
(`puppet`), two of them the same movement, and each then moves by the difference that was read from the other.
"""

from __future__ import annotations

import torch

from reanimate.training.batches import Batch

LEAST_CHANGE = 1.0  # sum over a picture below which nothing has moved


def exchanged(moves: torch.Tensor) -> torch.Tensor:
    """Differences [N, L, D] of codes, each that of the other face which made the same movement: 2k and 2k + 1."""
    return moves.view(-1, 2, *moves.shape[1:]).flip(1).reshape(moves.shape)


def missed(fake: torch.Tensor, before: Batch, after: Batch) -> torch.Tensor:
    """Mean difference of pictures [N, 3, R, R] from those after a movement, by how much places changed with it."""
    change = (after.pictures - before.pictures).abs().mean(1)
    error = (fake - after.pictures).abs().mean(1)
    return ((error * change).sum((1, 2)) / change.sum((1, 2)).clamp_min(LEAST_CHANGE)).mean()
