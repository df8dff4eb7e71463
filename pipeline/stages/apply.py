"""The performance on another identity."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from pipeline.artefacts import load_deltas, load_identity, save_latents
from pipeline.stage import Job, Stage
from pipeline.stages.subspace import load_subspace
from reanimate.errors import ConfigError, MediaError
from reanimate.motion import apply, reference
from reanimate.subspace import Subspace, soft_limit
from reanimate.types import Float32, Identity, Latents, PoseDeltas


@dataclass(frozen=True, slots=True)
class ApplyParams:
    """How much of the performance is applied, and where."""

    gain: float = 1.0
    group_gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors for the coarse (4 and 8 px), middle (16 and 32 px) and fine codes."""
    layers: tuple[int, ...] | None = None
    """0-based indices of the codes that move; None moves all."""
    scale: float | None = None
    """W+ units per unit of pose; None is the clip's own RMS."""
    reference: Literal["mean", "nearest"] = "mean"
    """What the target's own pose stands for: the source's mean, or the source frames whose pose is nearest to it."""
    limit: bool = False
    """Whether no code may move farther than the model's own codes differ."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not abs(self.gain) <= 100:
            raise ConfigError("gain", f"{self.gain} is not from -100 to 100")
        if not max(abs(gain) for gain in self.group_gains) <= 100:
            raise ConfigError("group_gains", f"{self.group_gains} are not from -100 to 100")
        if self.scale is not None and not 0 <= self.scale <= 1e6:
            raise ConfigError("scale", f"{self.scale} is not from 0 to 1000000")


def run(job: Job) -> None:
    """Identity and PoseDeltas to Latents."""
    identity, pose = load_identity(job.inputs["identity"]), load_deltas(job.inputs["pose"])
    _save(job, moved(identity, pose, job.params, None), pose.frame_rate)


def run_limited(job: Job) -> None:
    """The same, held where the model's codes are."""
    identity, pose = load_identity(job.inputs["identity"]), load_deltas(job.inputs["pose"])
    _save(job, moved(identity, pose, job.params, load_subspace(job.inputs["subspace"])), pose.frame_rate)


def moved(identity: Identity, pose: PoseDeltas, params: ApplyParams, space: Subspace | None) -> Float32:
    """Codes [T, L, D] of an identity that moves; `space` may be None where no limit is asked for.

    Raises:
        MediaError: the pose is of another model's size.
    """
    if identity.ws.shape != pose.deltas.shape[1:]:  # a file may claim any model
        raise MediaError("pose", f"has {pose.deltas.shape[1:]} numbers a frame, the model {identity.ws.shape}")
    away_from = reference(pose, identity) if params.reference == "nearest" else None
    ws = apply(identity, pose, params.gain, params.scale, params.layers, params.group_gains, away_from)
    if params.limit and space is not None:
        ws = (identity.ws + soft_limit(ws.astype(np.float64) - identity.ws, space)).astype(np.float32)
    return ws


def _save(job: Job, ws: Float32, frame_rate: Fraction) -> None:
    save_latents(job.folder, Latents(ws, np.full(len(ws), np.nan, np.float32), frame_rate))


STAGE = Stage("apply", 2, ("identity", "pose"), ApplyParams, run)
LIMITED = Stage("apply-limited", 1, ("identity", "pose", "subspace"), ApplyParams, run_limited)
