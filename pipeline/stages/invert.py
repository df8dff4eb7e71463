"""The latent code of every crop: runs of frames side by side, each frame starting from the one before."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.artefacts import load_track, save_latents
from pipeline.stage import Job, Stage
from pipeline.stages.align import CROPS
from pipeline.streams import RecordLog, open_frames
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError
from reanimate.inversion.clip import ClipInversion
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import make_loss
from reanimate.inversion.optimisers import Memory
from reanimate.inversion.spaces import to_ws
from reanimate.motion import interpolate_missing
from reanimate.types import Latents


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
    clip = ClipInversion(inverter, crops, track.detected, track.cuts)
    _solve(job, clip)
    with torch.no_grad():
        chunks = torch.split(clip.variables(), 64)
        parts = [to_ws(bundle.generator, params.space, chunk.to(job.device)).cpu() for chunk in chunks]
    ws = interpolate_missing(torch.cat(parts).numpy(), track.detected, track.cuts)
    save_latents(job.folder, Latents(ws, clip.losses, info.frame_rate))
    for name in (LOG, MEMORY):  # last: until then, a kill costs the frames of one batch
        (job.folder / name).unlink(missing_ok=True)


LOG = "frames.log"
MEMORY = "curvature.log"
_FRAME = struct.Struct("<i")  # a frame, or -1 less a shot


def _solve(job: Job, clip: ClipInversion) -> None:
    """Solve a clip, keeping every batch on disk before the next begins."""
    with RecordLog(job.folder / LOG, _FRAME.size + 4 * (1 + math.prod(clip.shape))) as log:
        _restore(job, clip, log)
        job.reporter.start("invert", clip.num_frames, done=len(clip.solved))
        logged, remembers = set(clip.solved), clip.memory is not None
        for step in clip.run():
            solution = step.solution
            if clip.memory is not None and not remembers:  # before the frames, which make a resumed run look for it
                _save_memory(job.folder / MEMORY, clip.memory)
                remembers = True
            note = f"loss {float(solution.loss.mean()):.4f}, {solution.passes} passes of {len(step.frames)} frames"
            if step.shot is not None:
                _append(log, -1 - step.shot, solution.variable[0], float(solution.loss))
                job.reporter.advance(0, note=note)
                continue
            new = [i for i, frame in enumerate(step.frames) if frame not in logged]
            for i in new:
                _append(log, step.frames[i], solution.variable[i], float(solution.loss[i]))
            logged.update(step.frames)
            job.reporter.advance(len(new), note=note)
        job.reporter.finish()


def _append(log: RecordLog, frame: int, variable: torch.Tensor, loss: float) -> None:
    row = np.concatenate([[loss], variable.cpu().numpy().ravel()]).astype(np.float32)
    log.append(_FRAME.pack(frame) + row.tobytes())


def _save_memory(path: Path, memory: Memory) -> None:
    rows = memory.rows()
    path.unlink(missing_ok=True)
    if rows is not None:
        with RecordLog(path, 4 * rows.shape[1]) as log:
            for row in rows.cpu().numpy():
                log.append(row.tobytes())


def _restore(job: Job, clip: ClipInversion, log: RecordLog) -> None:
    """Give a clip what an interrupted run left."""
    for record in log.read_all():
        (frame,) = _FRAME.unpack_from(record)
        row = np.frombuffer(record, np.float32, offset=_FRAME.size)
        variable = torch.from_numpy(row[1:].copy()).view(clip.shape).to(job.device)
        if frame < 0:
            clip.offsets[-1 - frame] = variable
        else:
            clip.solved[frame], clip.losses[frame] = variable, row[0]
    path = job.folder / MEMORY
    if len(log) and path.exists():
        with RecordLog(path, 4 * math.prod(clip.shape)) as kept:
            rows = [np.frombuffer(record, np.float32) for record in kept.read_all()]
        if rows:
            clip.memory = Memory(torch.from_numpy(np.stack(rows)).to(job.device))


STAGE = Stage("invert", 9, ("crops", "track"), InvertStageParams, run, resumes=True)
