"""Who and how: the clip's mean code, and each frame's difference from that of its shot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.artefacts import load_latents, load_track, save_deltas, save_identity
from pipeline.stage import Job, Stage
from reanimate.faces.align import head_motion
from reanimate.faces.expression import express
from reanimate.motion import Normalisation, canonical_frame, decompose
from reanimate.moves import moves_of
from reanimate.types import ATTRIBUTES, FaceTrack, Float32, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class DecomposeParams:
    """What identity and pose are."""

    normalisation: Normalisation = "clip"
    """One RMS over the clip, or one of each frame."""
    identity: Literal["mean", "canonical"] = "mean"
    """Of a target video: its mean code, or the code of the frame nearest to it with eyes open and mouth closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecomposeStageParams(DecomposeParams):
    """The same, and which model the codes belong to."""

    model_digest: str


def run(job: Job) -> None:
    """Latents to Identity, and PoseDeltas where there is more than one frame."""
    latents, params = load_latents(job.inputs["latents"]), job.params
    track, _ = load_track(job.inputs["track"])
    seen = attributes(track)
    if len(latents.ws) == 1:
        save_identity(job.folder, Identity(latents.ws[0], seen[0]))
        return
    identity, deltas = decompose(latents, params.model_digest, track.cuts, params.normalisation)
    shown = np.array([np.nanmean(column) if np.isfinite(column).any() else np.nan for column in seen.T], np.float32)
    identity = replace(identity, attributes=shown)
    if params.identity == "canonical":
        frame = canonical_frame(latents, seen)
        identity = Identity(latents.ws[frame], seen[frame])
        job.reporter.say(f"frame {frame} stands for the whole clip where this is the target")
    save_identity(job.folder, identity)
    head, moves = head_motion(track.quads, track.cuts), moves_of(seen, track.cuts)
    save_deltas(job.folder, replace(deltas, attributes=seen, head=head, moves=moves))


def attributes(track: FaceTrack) -> Float32:
    """[T, A] what the landmarks show, NaN where no face was seen."""
    found = express(track.landmarks)
    return np.stack([getattr(found, name) for name in ATTRIBUTES], 1).astype(np.float32)


STAGE = Stage("decompose", 8, ("latents", "track"), DecomposeStageParams, run)
