"""Batches of faces for training: the whole set lies on the device as uint8, so that a batch costs a gather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reanimate.images import resize
from reanimate.training.data import MARGIN, Faces, crops_at, draw_alignment, identity, jittered, sampling_weights
from reanimate.types import UInt8

_MIX = 0x9E3779B97F4A7C15  # spreads (seed, images) over a generator's 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Faces as training sees them, and where they come from."""

    pictures: torch.Tensor
    """[N, 3, R, R] in [-1, 1]."""
    chosen: torch.Tensor
    """[N] which faces."""
    alignment: torch.Tensor
    """[N, 2, 3] how each was cut; see `data.draw_alignment`."""


class Batches:
    """Draws faces with rare poses more often, alignment jittered, half of them mirrored, held-out people never.

    Nothing here waits for the device.
    """

    def __init__(self, faces: Faces, resolution: int, device: str) -> None:
        self.resolution, self.device = resolution, device
        self.pictures = torch.from_numpy(_thinned(faces, resolution)).to(device)
        weights = sampling_weights(faces)
        self.cumulative = torch.from_numpy(np.cumsum(weights)).to(device)
        people = np.unique([identity(name) for name in faces.names], return_inverse=True)[1]
        order = np.argsort(people, kind="stable")
        start, count = np.searchsorted(people[order], people), np.bincount(people)[people]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self.order, self.place, self.start, self.count = (
            torch.from_numpy(a.astype(np.int64)).to(device) for a in (order, place, start, count)
        )
        paired = np.where(count > 1, weights, 0.0)
        self.has_pairs = bool(paired.sum() > 0)
        self.cumulative_paired = torch.from_numpy(np.cumsum(paired)).to(device)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Faces of anybody."""
        return self.cut(self._pick(self.cumulative, count, generator), draw_alignment(count, generator))

    def draw_pairs(self, count: int, generator: torch.Generator) -> tuple[Batch, Batch]:
        """Two photographs of one person each, cut alike and both mirrored or neither; `has_pairs` must hold."""
        first = self._pick(self.cumulative_paired, count, generator)
        steps = torch.rand(count, generator=generator, device=generator.device) * (self.count[first] - 1)
        place = self.place[first] - self.start[first] + 1 + steps.long()
        second = self.order[self.start[first] + place % self.count[first]]
        alignment = draw_alignment(count, generator)
        return self.cut(first, alignment), self.cut(second, alignment)

    def cut(self, chosen: torch.Tensor, alignment: torch.Tensor) -> Batch:
        """Given faces at given alignments."""
        pictures = crops_at(self.pictures[chosen], self.resolution, alignment)
        return Batch(pictures.contiguous(memory_format=torch.channels_last), chosen, alignment)

    def exact(self, chosen: NDArray[Any]) -> torch.Tensor:
        """[N, 3, R, R] faces by index, exactly aligned."""
        return jittered(self.pictures[torch.from_numpy(chosen)], self.resolution, None)

    def _pick(self, cumulative: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
        draw = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64) * cumulative[-1]
        return torch.searchsorted(cumulative, draw, right=True)


def generator_at(seed: int, images: int, device: str) -> torch.Generator:
    """Random numbers of one step, from (seed, images): a resumed run sees the batches the uninterrupted one would."""
    return torch.Generator(device).manual_seed((seed * _MIX + images * 0xD1B54A32D192ED03) % 2**63)


def _thinned(faces: Faces, resolution: int) -> UInt8:
    """The stored crops at no more than twice the resolution that is trained."""
    side = round(resolution * 2 * MARGIN)
    if faces.pictures.shape[1] <= side:
        return faces.pictures
    return np.stack([resize(picture, side, side) for picture in faces.pictures])
