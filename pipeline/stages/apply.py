"""The performance on another identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.artefacts import load_deltas, load_identity, load_rehearsal, save_latents
from pipeline.stage import Job, Stage
from pipeline.stages.match import load_asked
from pipeline.stages.subspace import load_subspace
from reanimate.errors import ConfigError, MediaError
from reanimate.motion import apply, reference
from reanimate.moves import CENTRED, rehearsed, unexplained
from reanimate.subspace import soft_limit
from reanimate.types import Float32, Latents, PoseDeltas


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
    rehearse: bool = True
    """Whether head pose, mouth and eyes move as the target's own picture does when it is made to perform."""
    carry: float = 0.1
    """How much is added, then, of what else the source's codes do; without, all of it is."""
    limit: bool = False
    """Whether no code may move farther than the model's own codes differ."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not abs(self.gain) <= 100:
            raise ConfigError("gain", f"{self.gain} is not from -100 to 100")
        if not max(abs(gain) for gain in self.group_gains) <= 100:
            raise ConfigError("group_gains", f"{self.group_gains} are not from -100 to 100")
        if not 0 <= self.carry <= 10:
            raise ConfigError("carry", f"{self.carry} is not from 0 to 10")
        if self.scale is not None and not 0 <= self.scale <= 1e6:
            raise ConfigError("scale", f"{self.scale} is not from 0 to 1000000")


def run(job: Job) -> None:
    """Identity, PoseDeltas and what the options ask for to Latents."""
    pose = load_deltas(job.inputs["pose"])
    if job.params.rehearse and pose.moves is None:
        job.reporter.say("the pose holds nothing of head, mouth and eyes: its codes are added as they are")
    ws = moved(job, job.params, pose)
    save_latents(job.folder, Latents(ws, np.full(len(ws), np.nan, np.float32), pose.frame_rate))


def moved(job: Job, params: ApplyParams, pose: PoseDeltas) -> Float32:
    """Codes [T, L, D] of a job's identity that moves.

    Raises:
        MediaError: the pose is of another model's size.
    """
    identity = load_identity(job.inputs["identity"])
    if identity.ws.shape != pose.deltas.shape[1:]:  # a file may claim any model
        raise MediaError("pose", f"has {pose.deltas.shape[1:]} numbers a frame, the model {identity.ws.shape}")
    weights = reference(pose, identity) if params.reference == "nearest" else np.zeros(len(pose.deltas))
    own = None
    if params.rehearse and pose.moves is not None:
        asked = load_asked(job.inputs["asked"])
        own = rehearsed(load_rehearsal(job.inputs["rehearsal"]), asked - weights @ asked * CENTRED)
        pose = replace(pose, deltas=params.carry * unexplained(pose.deltas, pose.moves, pose.starts))
    away_from = np.tensordot(weights, pose.deltas.astype(np.float64), 1)
    ws = apply(identity, pose, params.gain, params.scale, params.layers, params.group_gains, away_from, own)
    if params.limit:
        space = load_subspace(job.inputs["subspace"])
        ws = (identity.ws + soft_limit(ws.astype(np.float64) - identity.ws, space)).astype(np.float32)
    return ws


def fed_by(params: ApplyParams) -> tuple[str, ...]:
    """What else than identity and pose is needed."""
    return (*["rehearsal", "asked"] * params.rehearse, *["subspace"] * params.limit)


def stage(params: ApplyParams) -> Stage:
    """The stage with these inputs."""
    return Stage("apply", 6, ("identity", "pose", *fed_by(params)), ApplyParams, run)
