"""The codes of a clip: frames of one shot share an offset from the encoder, and start from the frame before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reanimate.images import to_tensor
from reanimate.inversion.invert import Inverter, Solution
from reanimate.inversion.optimisers import Memory
from reanimate.inversion.segments import Segment, batches, segments
from reanimate.types import Bool, UInt8, spread

SHARED_FRAMES = 4  # of a shot, that its offset is looked for in; more cost more and change little
ENCODED = 32  # frames that the encoder sees at once
ONWARD = 0.3  # of the way that offsets went from the frame before last to the last, that the next one goes on


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What was solved in one batch."""

    frames: list[int]
    """Of the clip; for a shot's offset, those it was looked for in."""
    solution: Solution
    shot: int | None = None
    """Whose offset this is, or None for codes of the frames."""


class ClipInversion:
    """A clip on its way to codes, batch by batch. Give it what an earlier run solved, and it goes on from there.

    Without an encoder, without warm starts, or of one frame only, there is no offset to share: key frames are solved by
    themselves.
    """

    def __init__(self, inverter: Inverter, crops: UInt8, known: Bool, cuts: Bool) -> None:
        """`crops` [T, R, R, 3]; frames are `known` [T] to show a face; shots begin at `cuts` [T]."""
        self.inverter, self.crops = inverter, crops
        params = inverter.params
        self.shares = inverter.shares and params.warm_start and int(known.sum()) > 1
        runs = segments(known, cuts, params.lanes)
        self.segments = runs if params.warm_start else [Segment((t,), run.shot) for run in runs for t in run.frames]
        self.shape = tuple(inverter.start(self._pictures([0])).shape[1:])
        self.solved: dict[int, torch.Tensor] = {}
        """Variables by frame."""
        self.losses: NDArray[np.float32] = np.full(len(crops), np.nan, np.float32)
        """[T] NaN where there is no face."""
        self.offsets: dict[int, torch.Tensor] = {}
        """By shot."""
        self._said: dict[int, torch.Tensor] = {}
        self.memory: Memory | None = None
        """The curvature that was seen first; all later frames use it."""

    @property
    def num_frames(self) -> int:
        """Frames that there is something to solve in."""
        return sum(len(segment.frames) for segment in self.segments)

    def variables(self) -> torch.Tensor:
        """[T, ...] on the CPU, zero where nothing was solved."""
        result = torch.zeros(len(self.crops), *self.shape)
        for frame, variable in self.solved.items():
            result[frame] = variable.cpu()
        return result

    def run(self) -> Iterator[Step]:
        """Solve what is not solved yet; a batch that was kept in part is solved again, with the same result."""
        lanes = self.inverter.params.lanes
        if self.shares:
            self._encode()
            yield from self._offsets()
        else:
            for first in range(0, len(self.segments), lanes):
                frames = [segment.frames[0] for segment in self.segments[first : first + lanes]]
                if not self._are_solved(frames):
                    yield self._keep(Step(frames, self.inverter.first(self._pictures(frames))))
        for batch in batches(self.segments, lanes, first=0 if self.shares else 1):
            frames = [self.segments[i].frames[at] for i, at in batch]
            if not self._are_solved(frames):
                target = self._pictures(frames)
                solution = self.inverter.next(target, self._starts(batch), self.memory)
                yield self._keep(Step(frames, solution))

    def _offsets(self) -> Iterator[Step]:
        for shot in sorted({segment.shot for segment in self.segments} - self.offsets.keys()):
            frames = [frame for segment in self.segments if segment.shot == shot for frame in segment.frames]
            chosen = [frames[i] for i in spread(len(frames), SHARED_FRAMES)]
            yield self._keep(Step(chosen, self.inverter.shared(self._pictures(chosen)), shot))

    def _encode(self) -> None:
        """What the encoder says of every frame, once, in chunks that a resumed run makes too: the same to the bit."""
        frames = [frame for segment in self.segments for frame in segment.frames]
        for first in range(0, len(frames), ENCODED):
            chunk = frames[first : first + ENCODED]
            self._said.update(zip(chunk, self.inverter.start(self._pictures(chunk)), strict=True))

    def _starts(self, batch: list[tuple[int, int]]) -> torch.Tensor:
        if not self.shares:
            return torch.stack([self.solved[self.segments[i].frames[at - 1]] for i, at in batch])
        anchor = torch.stack([self.offsets[self.segments[i].shot] for i, _ in batch])
        offset = torch.stack([self._offset_before(self.segments[i], at) for i, at in batch])
        said = torch.stack([self._said[self.segments[i].frames[at]] for i, at in batch])
        return self.inverter.follow(said, anchor, offset)

    def _offset_before(self, segment: Segment, at: int) -> torch.Tensor:
        """How far from the encoder the frame before is, and a little onward; for a segment's first, as the shot is."""
        if not at:
            return self.offsets[segment.shot]
        *earlier, last = [self.solved[t] - self._said[t] for t in segment.frames[max(at - 2, 0) : at]]
        return last + ONWARD * (last - earlier[0]) if earlier else last

    def _keep(self, step: Step) -> Step:
        solution = step.solution
        rows = solution.memory.rows()
        if self.memory is None and rows is not None:
            self.memory = Memory(rows)  # as a run that goes on will have it
        if step.shot is not None:
            self.offsets[step.shot] = solution.variable[0]
            return step
        for i, frame in enumerate(step.frames):
            self.solved[frame], self.losses[frame] = solution.variable[i], float(solution.loss[i])
        return step

    def _are_solved(self, frames: list[int]) -> bool:
        return all(frame in self.solved for frame in frames)

    def _pictures(self, frames: list[int]) -> torch.Tensor:
        return to_tensor(self.crops[frames]).to(self.inverter.generator.w_avg.device)
