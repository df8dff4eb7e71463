"""Which frames of a clip are solved together: runs side by side, each frame starting from the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reanimate.types import Bool, shots

SHORTEST = 12  # frames; the first of a segment has no frame before it to start from


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames of one shot, without those that show no face."""

    frames: tuple[int, ...]
    """In the order in which they are solved, onward or back."""
    shot: int
    """Which of the clip's shots, from 0."""


def segments(known: Bool, cuts: Bool, lanes: int) -> list[Segment]:
    """The clip in about `lanes` runs of equal length, none over a cut; `known` and `cuts` are [T].

    Runs of a shot begin back to back, two and two: they part at frames that are alike, solved side by side, so that no
    seam shows there. With two lanes, that is the middle of a shot.
    """
    runs = [np.flatnonzero(known[shot]) + shot.start for shot in shots(cuts)]
    wanted = max(SHORTEST, -(-int(known.sum()) // lanes))
    found = []
    for shot, run in enumerate(runs):
        parts = np.array_split(run, max(1, round(len(run) / wanted))) if len(run) else []
        for i, part in enumerate(parts):
            goes_back = i % 2 == 0 and i + 1 < len(parts)
            found.append(Segment(tuple(part[::-1].tolist() if goes_back else part.tolist()), shot))
    return found


def batches(segments: Sequence[Segment], lanes: int, first: int) -> Iterator[list[tuple[int, int]]]:
    """What is solved together: up to `lanes` pairs of segment and position in it, from `first` on.

    A lane whose segment is done takes the next; every frame comes after the one it starts from.
    """
    waiting = [i for i, segment in enumerate(segments) if len(segment.frames) > first]
    running: list[tuple[int, int]] = []
    while waiting or running:
        while waiting and len(running) < lanes:
            running.append((waiting.pop(0), first))
        yield list(running)
        running = [(i, at + 1) for i, at in running if at + 1 < len(segments[i].frames)]
