"""The performance made more of what poses are: what was lost put back, what is none shrunk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pipeline.artefacts import load_deltas, load_latents, load_track, save_deltas
from pipeline.stage import Job, Stage
from pipeline.stages.subspace import load_subspace
from reanimate.agreement import centred
from reanimate.calibration import look_at
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError
from reanimate.images import to_pictures
from reanimate.motion import interpolate_missing
from reanimate.subspace import arrived, regain, shrink
from reanimate.types import ATTRIBUTES, Bool, Float32, Float64, spread

LOOKED_AT = 96  # reconstructions at most, evenly over the clip
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineParams:
    """What is done to a performance; with both at 0, nothing is."""

    regain: float = 0.0
    """How much of the motion that reconstructions lack is put back along the model's directions."""
    shrink: float = 0.0
    """How far deltas are drawn towards the directions in which poses lie."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.regain <= 10:
            raise ConfigError("regain", f"{self.regain} is not from 0 to 10")
        if not 0 <= self.shrink <= 1:
            raise ConfigError("shrink", f"{self.shrink} is not from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineStageParams(RefineParams):
    """The same, and the model it is done with."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """PoseDeltas to PoseDeltas."""
    params, deltas = job.params, load_deltas(job.inputs["pose"])
    space = load_subspace(job.inputs["subspace"])
    offsets = shrink(deltas.scale * deltas.deltas.astype(np.float64), space, params.shrink)
    if params.regain and deltas.attributes is not None and np.isfinite(deltas.attributes).any():
        track, _ = load_track(job.inputs["track"])
        shown = _curves(deltas.attributes, track.cuts)
        looked = spread(len(shown), LOOKED_AT)
        seen = np.full(shown.shape, np.nan)
        seen[looked] = _look(job, load_latents(job.inputs["latents"]).ws[looked])
        seen = np.stack([centred(column, track.cuts) for column in seen.T], 1)
        shares = arrived(np.where(np.isfinite(seen), shown, np.nan), seen)
        job.reporter.say("of the motion, reconstructions show " + ", ".join(
            f"{share:.0%} ({name})" for name, share in zip(ATTRIBUTES, shares, strict=True)))  # fmt: skip
        offsets = regain(offsets, shown, params.regain * (1 - shares), space)
    save_deltas(job.folder, replace(deltas, deltas=(offsets / deltas.scale).astype(np.float32)))


def _curves(attributes: Float32, cuts: Bool) -> Float64:
    """[T, A] without gaps, less the mean of each shot."""
    known = np.asarray(np.isfinite(attributes).all(1))
    filled = interpolate_missing(np.nan_to_num(attributes), known, cuts)
    return np.stack([centred(column.astype(np.float64), cuts) for column in filled.T], 1)


def _look(job: Job, ws: Float32) -> Float64:
    """[N, A] what the pictures of codes [N, L, D] show."""
    generator = load_bundle(job.params.model, job.device).generator
    found = []
    job.reporter.start("refine", len(ws))
    with torch.no_grad():
        for chunk in torch.split(torch.from_numpy(ws), BATCH):
            found.append(look_at(to_pictures(generator.synthesis(chunk.to(job.device)))).expression)
            job.reporter.advance(len(chunk))
    job.reporter.finish()
    return np.concatenate(found)


STAGE = Stage("refine", 1, ("pose", "latents", "track", "subspace"), RefineStageParams, run)
