"""Which frames of a clip are solved together: runs side by side, each frame starting from the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reanimate.types import Bool, shots

SHORTEST = 12  # frames; a key frame costs as much as several later ones


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames of one shot, without those that show no face; the first is a key frame."""

    frames: tuple[int, ...]
    continues: bool
    """Whether the segment after it goes on in the same shot, so that this one leads to its key frame."""


def segments(known: Bool, cuts: Bool, lanes: int) -> list[Segment]:
    """The clip in about `lanes` runs of equal length, none over a cut; `known` and `cuts` are [T]."""
    runs = [np.flatnonzero(known[shot]) + shot.start for shot in shots(cuts)]
    wanted = max(SHORTEST, -(-int(known.sum()) // lanes))
    found = []
    for run in runs:
        if len(run):
            parts = np.array_split(run, max(1, round(len(run) / wanted)))
            found += [Segment(tuple(int(t) for t in part), i + 1 < len(parts)) for i, part in enumerate(parts)]
    return found


def batches(segments: Sequence[Segment], lanes: int) -> Iterator[list[tuple[int, int]]]:
    """What is solved together after the key frames: up to `lanes` pairs of segment and position in it, from 1 on.

    A lane whose segment is done takes the next; every frame comes after the one it starts from.
    """
    waiting = [i for i, segment in enumerate(segments) if len(segment.frames) > 1]
    running: list[tuple[int, int]] = []
    while waiting or running:
        while waiting and len(running) < lanes:
            running.append((waiting.pop(0), 1))
        yield list(running)
        running = [(i, at + 1) for i, at in running if at + 1 < len(segments[i].frames)]
