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
        if not inverter.params.warm_start:
            self.segments = [Segment((frame,), continues=False) for run in self.segments for frame in run.frames]
        with torch.no_grad():
            self.shape = tuple(inverter.start(self._pictures([0])).shape[1:])
        self.solved: dict[int, torch.Tensor] = {}
        self.losses = np.full(len(crops), np.nan, np.float32)
        self.offsets: dict[int, torch.Tensor] = {}
        self.memory: Memory | None = None

    def solve(self) -> tuple[torch.Tensor, NDArray[np.float32]]:
        """Variables [T, ...], zero where there is no face, and losses [T], NaN there."""
        lanes, reporter = self.inverter.params.lanes, self.job.reporter
        self.memory = self._remembered()
        with RecordLog(self.job.folder / LOG, _FRAME.size + 4 * (1 + math.prod(self.shape))) as log:
            for record in log.read_all():
                (frame,) = _FRAME.unpack_from(record)
                row = np.frombuffer(record, np.float32, offset=_FRAME.size)
                self._keep(frame, torch.from_numpy(row[1:].copy()).view(self.shape).to(self.job.device), row[0])
            reporter.start("invert", sum(len(segment.frames) for segment in self.segments), done=len(self.solved))
            for first in range(0, len(self.segments), lanes):
                self._solve_keys([segment.frames[0] for segment in self.segments[first : first + lanes]], log)
            for batch in batches(self.segments, lanes):
                self._solve_next(batch, log)
            reporter.finish()
        variables = torch.zeros(len(self.crops), *self.shape)
        for frame, variable in self.solved.items():
            variables[frame] = variable.cpu()
        return variables, self.losses

    def _solve_keys(self, frames: list[int], log: RecordLog) -> None:
        if all(frame in self.solved for frame in frames):
            return
        solution = self.inverter.first(self._pictures(frames))
        rows = solution.memory.rows()
        if self.memory is None and rows is not None:
            self._remember(rows)
        self._log(frames, solution, log)

    def _solve_next(self, batch: list[tuple[int, int]], log: RecordLog) -> None:
        frames = [self.segments[i].frames[at] for i, at in batch]
        if all(frame in self.solved for frame in frames):
            return
        before = [self.segments[i].frames[at - 1] for i, at in batch]
        anchor = torch.stack([self._anchor(i, at) for i, at in batch])
        variable, target = torch.stack([self.solved[frame] for frame in before]), self._pictures(frames)
        start = self.inverter.follow(variable, self._pictures(before), target, anchor)
        self._log(frames, self.inverter.next(target, start, self.memory), log)

    def _anchor(self, index: int, at: int) -> torch.Tensor:
        """The offset from the encoder that the key frames on both sides of a frame give reason to expect."""
        segment, own = self.segments[index], self._key_offset(index)
        return torch.lerp(own, self._key_offset(index + 1), at / len(segment.frames)) if segment.continues else own

    def _key_offset(self, index: int) -> torch.Tensor:
        if index not in self.offsets:
            key = self.segments[index].frames[0]
            self.offsets[index] = self.inverter.offset(self.solved[key][None], self._pictures([key]))[0]
        return self.offsets[index]

    def _pictures(self, frames: list[int]) -> torch.Tensor:
        return to_tensor(self.crops[frames]).to(self.job.device)

    def _keep(self, frame: int, variable: torch.Tensor, loss: float) -> None:
        self.solved[frame], self.losses[frame] = variable, loss

    def _log(self, frames: list[int], solution: Solution, log: RecordLog) -> None:
        """Frames of a batch that was logged in part are solved again, with the same result."""
        new = [i for i, frame in enumerate(frames) if frame not in self.solved]
        for i in new:
            self._keep(frames[i], solution.variable[i], float(solution.loss[i]))
            row = np.concatenate([[self.losses[frames[i]]], solution.variable[i].cpu().numpy().ravel()])
            log.append(_FRAME.pack(frames[i]) + row.astype(np.float32).tobytes())
        note = f"loss {float(solution.loss.mean()):.4f}, {solution.passes} passes of {len(frames)} frames"
        self.job.reporter.advance(len(new), note=note)

    def _remember(self, rows: torch.Tensor) -> None:
        """Later frames use the curvature of the first batch of key frames; a resumed run reads it."""
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
