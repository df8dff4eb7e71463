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


def arrived(still: torch.Tensor, moved: torch.Tensor, before: Batch, after: Batch) -> torch.Tensor:
    """How much of the change between two batches is in that from pictures `still` to `moved` [N, 3, R, R].

    The slope of one change over the other, all places and faces together: 1 is all of it, at its place.
    """
    drawn, wanted = (moved - still).mean(1), (after.pictures - before.pictures).mean(1)
    return (drawn * wanted).sum() / wanted.square().sum().clamp_min(LEAST_CHANGE)


def missed(fake: torch.Tensor, before: Batch, after: Batch) -> torch.Tensor:
    """Mean difference of pictures [N, 3, R, R] from those after a movement, by how much places changed with it."""
    change = (after.pictures - before.pictures).abs().mean(1)
    error = (fake - after.pictures).abs().mean(1)
    return ((error * change).sum((1, 2)) / change.sum((1, 2)).clamp_min(LEAST_CHANGE)).mean()
