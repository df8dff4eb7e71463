"""Batches of faces for training: the whole set lies on the device as uint8, so that a batch costs a gather."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reanimate.faces.puppet import Act, Puppets, sampled_at
from reanimate.images import resize
from reanimate.training.acts import draw_acts
from reanimate.training.data import (
    MARGIN,
    Faces,
    crops_at,
    draw_alignment,
    jittered,
    sampling_weights,
)
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
        places = (2 * faces.landmarks / faces.resolution - 1) / MARGIN
        self.puppets = Puppets(torch.from_numpy(places.astype(np.float32)).to(device))
        weights = sampling_weights(faces)
        self.cumulative = torch.from_numpy(np.cumsum(weights)).to(device)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Faces of anybody."""
        return self.cut(self._pick(self.cumulative, count, generator), draw_alignment(count, generator))

    def cut(self, chosen: torch.Tensor, alignment: torch.Tensor, act: Act | None = None) -> Batch:
        """Given faces at given alignments, as in their photographs or acting."""
        sample = sampled_at if act is None else partial(self.puppets.sample, chosen, act)
        pictures = crops_at(self.pictures[chosen], self.resolution, alignment, sample)
        return Batch(pictures.contiguous(memory_format=torch.channels_last), chosen, alignment)

    def performed(self, some: Batch, generator: torch.Generator) -> tuple[Batch, Batch]:
        """The faces of a batch of even size before and after a movement, which those at 2k and 2k + 1 share."""
        matrix = some.alignment
        mirrored = matrix[:, 0, 0] * matrix[:, 1, 1] < matrix[:, 0, 1] * matrix[:, 1, 0]
        acts = draw_acts(self.puppets.gap(some.chosen), mirrored, generator)
        before, after = (self.cut(some.chosen, some.alignment, act) for act in acts)
        return before, after

    def exact(self, chosen: NDArray[Any]) -> torch.Tensor:
        """[N, 3, R, R] faces by index, exactly aligned."""
        return jittered(self.pictures[torch.from_numpy(chosen)], self.resolution, None)

    def _pick(self, cumulative: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
        draw = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64) * cumulative[-1]
        return torch.searchsorted(cumulative, draw, right=True)


def joined(first: Batch, second: Batch) -> Batch:
    """One batch after the other."""
    pictures, chosen, alignment = (
        torch.cat([getattr(batch, name) for batch in (first, second)]) for name in ("pictures", "chosen", "alignment")
    )
    return Batch(pictures, chosen, alignment)


def generator_at(seed: int, images: int, device: str) -> torch.Generator:
    """Random numbers of one step, from (seed, images): a resumed run sees the batches the uninterrupted one would."""
    return torch.Generator(device).manual_seed((seed * _MIX + images * 0xD1B54A32D192ED03) % 2**63)


def _thinned(faces: Faces, resolution: int) -> UInt8:
    """The stored crops at no more than twice the resolution that is trained."""
    side = round(resolution * 2 * MARGIN)
    if faces.pictures.shape[1] <= side:
        return faces.pictures
    return np.stack([resize(picture, side, side) for picture in faces.pictures])
