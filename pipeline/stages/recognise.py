"""Who is seen in every frame, as a network for recognising faces puts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artefacts import Like, load_track, save_arrays
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip
from reanimate.metrics import descriptor_at

DESCRIPTORS = "descriptors.npz"
DESCRIBED: Like = {"descriptors": (np.float64, (None, 128))}


@dataclass(frozen=True, slots=True)
class RecogniseParams:
    """Nothing to choose."""


def run(job: Job) -> None:
    """Video and FaceTrack to descriptors [T, 128], NaN where no face was detected."""
    track, info = load_track(job.inputs["track"])
    descriptors = np.full((info.num_frames, 128), np.nan)
    _, frames = open_clip(job.inputs["clip"])
    job.reporter.start("recognise", info.num_frames)
    for t, frame in zip(range(info.num_frames), frames, strict=False):
        if track.detected[t]:
            descriptors[t] = descriptor_at(frame, track.landmarks[t])
        job.reporter.advance()
    job.reporter.finish()
    save_arrays(job.folder / DESCRIPTORS, {"descriptors": descriptors}, DESCRIBED)


STAGE = Stage("recognise", 2, ("clip", "track"), RecogniseParams, run)
