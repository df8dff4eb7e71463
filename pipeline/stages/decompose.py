"""Who and how: the clip's mean code, and each frame's difference from that of its shot."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artefacts import load_latents, load_track, save_deltas, save_identity
from pipeline.stage import Job, Stage
from reanimate.motion import decompose
from reanimate.types import Identity


@dataclass(frozen=True, slots=True)
class DecomposeParams:
    """Which model the codes belong to."""

    model_digest: str


def run(job: Job) -> None:
    """Latents to Identity, and PoseDeltas where there is more than one frame."""
    latents = load_latents(job.inputs["latents"])
    if len(latents.ws) == 1:
        save_identity(job.folder, Identity(latents.ws[0]))
        return
    track, _ = load_track(job.inputs["track"])
    identity, deltas = decompose(latents, job.params.model_digest, track.cuts)
    save_identity(job.folder, identity)
    save_deltas(job.folder, deltas)


STAGE = Stage("decompose", 1, ("latents", "track"), DecomposeParams, run)
