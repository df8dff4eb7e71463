"""The latent code of every crop: runs of frames side by side, each frame starting from the one before."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artefacts import load_track, save_latents
from pipeline.stage import Job, Stage
from pipeline.stages.align import CROPS
from pipeline.streams import RecordLog, open_frames
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError
from reanimate.images import to_tensor
from reanimate.inversion.invert import Inverter, InvertParams, Solution
from reanimate.inversion.losses import make_loss
from reanimate.inversion.optimisers import Memory
from reanimate.inversion.segments import Segment, batches, segments
from reanimate.inversion.spaces import to_ws
from reanimate.motion import interpolate_missing
from reanimate.types import FaceTrack, Latents, UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertStageParams(InvertParams):
    """The inversion's parameters and the model it is done with."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Crops to Latents; goes on from what is in the log."""
    params: InvertStageParams = job.params
    if params.noise or params.space == "noise":
        raise ConfigError("invert.noise", "noise maps are optimised for pictures only; see reanimate invert")
    track, info = load_track(job.inputs["track"])
    crops = open_frames(job.inputs["crops"] / CROPS)
    bundle = load_bundle(params.model, job.device)
    loss = make_loss(params.loss, params.norm, device=job.device, own=bundle.features)
    inverter = Inverter(bundle.generator, bundle.encoder, loss, params)
    variables, losses = _Clip(job, inverter, crops, track).solve()
    with torch.no_grad():
        parts = [
            to_ws(bundle.generator, params.space, chunk.to(job.device)).cpu() for chunk in torch.split(variables, 64)
        ]
    ws = interpolate_missing(torch.cat(parts).numpy(), track.detected, track.cuts)
    save_latents(job.folder, Latents(ws, losses, info.frame_rate))
    for name in (LOG, MEMORY):  # last: until then, a kill costs the frames of one batch
        (job.folder / name).unlink(missing_ok=True)


LOG = "frames.log"
MEMORY = "curvature.log"
_FRAME = struct.Struct("<i")


class _Clip:
    """The frames of one clip on their way to codes. What is solved in one batch is logged in one go."""

    def __init__(self, job: Job, inverter: Inverter, crops: UInt8, track: FaceTrack) -> None:
        self.job, self.inverter, self.crops = job, inverter, crops
        self.segments = segments(track.detected, track.cuts, inverter.params.lanes)
        self.shares = inverter.shares and inverter.params.warm_start
        if not inverter.params.warm_start:
            self.segments = [Segment((frame,), run.shot) for run in self.segments for frame in run.frames]
        with torch.no_grad():
            self.shape = tuple(inverter.start(self._pictures([0])).shape[1:])
        self.solved: dict[int, torch.Tensor] = {}
        self.losses = np.full(len(crops), np.nan, np.float32)
        self.offsets: dict[int, torch.Tensor] = {}
        """By shot."""
        self.memory: Memory | None = None

    def solve(self) -> tuple[torch.Tensor, NDArray[np.float32]]:
        """Variables [T, ...], zero where there is no face, and losses [T], NaN there."""
        lanes, reporter = self.inverter.params.lanes, self.job.reporter
        self.memory = self._remembered()
        with RecordLog(self.job.folder / LOG, _FRAME.size + 4 * (1 + math.prod(self.shape))) as log:
            for record in log.read_all():
                (frame,) = _FRAME.unpack_from(record)
                row = np.frombuffer(record, np.float32, offset=_FRAME.size)
                variable = torch.from_numpy(row[1:].copy()).view(self.shape).to(self.job.device)
                if frame < 0:
                    self.offsets[-1 - frame] = variable
                else:
                    self.solved[frame], self.losses[frame] = variable, row[0]
            reporter.start("invert", sum(len(segment.frames) for segment in self.segments), done=len(self.solved))
            if self.shares:
                self._solve_offsets(log)
            else:
                for first in range(0, len(self.segments), lanes):
                    self._solve_keys([segment.frames[0] for segment in self.segments[first : first + lanes]], log)
            for batch in batches(self.segments, lanes, first=0 if self.shares else 1):
                self._solve_batch(batch, log)
            reporter.finish()
        variables = torch.zeros(len(self.crops), *self.shape)
        for frame, variable in self.solved.items():
            variables[frame] = variable.cpu()
        return variables, self.losses

    def _solve_offsets(self, log: RecordLog) -> None:
        """One offset from the encoder for each shot, by as many of its frames as there are lanes, spread over it."""
        lanes = self.inverter.params.lanes
        for shot in sorted({segment.shot for segment in self.segments}):
            if shot not in self.offsets:
                frames = [frame for segment in self.segments if segment.shot == shot for frame in segment.frames]
                chosen = np.unique(np.linspace(0, len(frames) - 1, min(lanes, len(frames))).round().astype(int))
                solution = self.inverter.shared(self._pictures([frames[i] for i in chosen]))
                self._remember(solution)
                self.offsets[shot] = solution.variable[0]
                self._append(log, -1 - shot, solution.variable[0], float(solution.loss))

    def _solve_keys(self, frames: list[int], log: RecordLog) -> None:
        if not all(frame in self.solved for frame in frames):
            solution = self.inverter.first(self._pictures(frames))
            self._remember(solution)
            self._log(frames, solution, log)

    def _solve_batch(self, batch: list[tuple[int, int]], log: RecordLog) -> None:
        frames = [self.segments[i].frames[at] for i, at in batch]
        if all(frame in self.solved for frame in frames):
            return
        target = self._pictures(frames)
        if not self.shares:
            start = torch.stack([self.solved[self.segments[i].frames[at - 1]] for i, at in batch])
        else:
            anchor = torch.stack([self.offsets[self.segments[i].shot] for i, _ in batch])
            offset = torch.stack([self._offset_before(i, at) for i, at in batch])
            start = self.inverter.follow(target, anchor, offset)
        self._log(frames, self.inverter.next(target, start, self.memory), log)

    def _offset_before(self, index: int, at: int) -> torch.Tensor:
        """How far from the encoder the frame before is, or the whole shot for the first of a segment."""
        segment = self.segments[index]
        if not at:
            return self.offsets[segment.shot]
        before = segment.frames[at - 1]
        return self.solved[before] - self.inverter.start(self._pictures([before]))[0]

    def _pictures(self, frames: list[int]) -> torch.Tensor:
        return to_tensor(self.crops[frames]).to(self.job.device)

    def _log(self, frames: list[int], solution: Solution, log: RecordLog) -> None:
        """Frames of a batch that was logged in part are solved again, with the same result."""
        new = [i for i, frame in enumerate(frames) if frame not in self.solved]
        for i in new:
            self.solved[frames[i]], self.losses[frames[i]] = solution.variable[i], float(solution.loss[i])
            self._append(log, frames[i], solution.variable[i], float(solution.loss[i]))
        note = f"loss {float(solution.loss.mean()):.4f}, {solution.passes} passes of {len(frames)} frames"
        self.job.reporter.advance(len(new), note=note)

    @staticmethod
    def _append(log: RecordLog, frame: int, variable: torch.Tensor, loss: float) -> None:
        row = np.concatenate([[loss], variable.cpu().numpy().ravel()]).astype(np.float32)
        log.append(_FRAME.pack(frame) + row.tobytes())

    def _remember(self, solution: Solution) -> None:
        """Frames use the curvature that was seen first, which a resumed run reads."""
        rows = solution.memory.rows()
        if self.memory is not None or rows is None:
            return
        path = self.job.folder / MEMORY
        path.unlink(missing_ok=True)
        with RecordLog(path, 4 * rows.shape[1]) as log:
            for row in rows.cpu().numpy():
                log.append(row.tobytes())
        self.memory = Memory(rows)

    def _remembered(self) -> Memory | None:
        path = self.job.folder / MEMORY
        if not path.exists():
            return None
        with RecordLog(path, 4 * math.prod(self.shape)) as log:
            rows = [np.frombuffer(record, np.float32) for record in log.read_all()]
        return Memory(torch.from_numpy(np.stack(rows)).to(self.job.device)) if rows else None


STAGE = Stage("invert", 3, ("crops", "track"), InvertStageParams, run, resumes=True)
