"""The latent code of every crop, each frame starting from the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.artefacts import load_track, save_latents
from pipeline.stage import Job, Stage
from pipeline.stages.align import CROPS
from pipeline.streams import RecordLog, open_frames
from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import to_tensor
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import make_loss
from reanimate.inversion.spaces import to_ws
from reanimate.motion import interpolate_missing
from reanimate.types import Bool, Latents, UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertStageParams(InvertParams):
    """The inversion's parameters and the model it is done with."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Crops to Latents; goes on from the last frame in the log."""
    params: InvertStageParams = job.params
    track, info = load_track(job.inputs["track"])
    crops = open_frames(job.inputs["crops"] / CROPS)
    bundle = load_bundle(params.model, job.device)
    loss = make_loss(params.loss, params.norm, device=job.device, own=bundle.features)
    inverter = Inverter(bundle.generator, bundle.encoder, loss, params)
    with torch.no_grad():
        shape = tuple(inverter.start(to_tensor(crops[:1]).to(job.device)).shape)
    variables, losses = _invert_clip(job, inverter, crops, track.detected, track.cuts, shape)
    with torch.no_grad():
        parts = [
            to_ws(bundle.generator, params.space, chunk.to(job.device)).cpu() for chunk in torch.split(variables, 64)
        ]
    ws = interpolate_missing(torch.cat(parts).numpy(), track.detected, track.cuts)
    save_latents(job.folder, Latents(ws, losses, info.frame_rate))
    (job.folder / LOG).unlink()  # last: until then, a kill costs no frame


LOG = "frames.log"


def _invert_clip(
    job: Job, inverter: Inverter, crops: UInt8, detected: Bool, cuts: Bool, shape: tuple[int, ...]
) -> tuple[torch.Tensor, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Variables [T, ...] and losses [T], NaN where there is no face."""
    numbers = math.prod(shape)
    shot = np.cumsum(cuts)
    before: tuple[int, torch.Tensor] | None = None  # the last frame that was solved, and its variable
    first = before  # the same of the first frame of its shot
    with RecordLog(job.folder / LOG, 4 * (numbers + 1)) as log:
        rows = [np.frombuffer(record, np.float32) for record in log.read_all()]
        for t, row in enumerate(rows):
            if detected[t]:
                solved = (t, torch.from_numpy(row[1:].copy()).view(shape).to(job.device))
                first = first if before is not None and first is not None and shot[before[0]] == shot[t] else solved
                before = solved
        job.reporter.start("invert", len(crops), done=len(rows))
        for t in range(len(rows), len(crops)):
            row = np.full(numbers + 1, np.nan, np.float32)
            note = "no face"
            if detected[t]:
                target = to_tensor(crops[t : t + 1]).to(job.device)
                if before is None or first is None or shot[before[0]] != shot[t] or not inverter.params.warm_start:
                    solution = inverter.first(target)
                    first = (t, solution.variable)
                else:
                    target_before, target_first = (
                        to_tensor(crops[i : i + 1]).to(job.device) for i in (before[0], first[0])
                    )
                    start = inverter.follow(before[1], target_before, target, (first[1], target_first))
                    solution = inverter.next(target, start)
                before = (t, solution.variable)
                row[0], row[1:] = float(solution.loss), solution.variable.cpu().numpy().ravel()
                note = f"loss {row[0]:.4f}, {solution.passes} passes"
            log.append(row.tobytes())
            rows.append(row)
            job.reporter.advance(note=note)
        job.reporter.finish()
    table = np.stack(rows)
    variables = np.nan_to_num(table[:, 1:]).reshape(len(table), *shape[1:])
    return torch.from_numpy(variables), table[:, 0].copy()


STAGE = Stage("invert", 2, ("crops", "track"), InvertStageParams, run, resumes=True)
