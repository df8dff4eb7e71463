"""Where the face is in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.artefacts import save_track
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip, spans
from reanimate.errors import FaceNotFound
from reanimate.faces.detect import DlibDetector
from reanimate.faces.track import follow, make_track


@dataclass(frozen=True, slots=True)
class TrackParams:
    """Nothing to choose yet: the largest face of each shot is followed."""


def run(job: Job) -> None:
    """Video to FaceTrack."""
    path = job.inputs["clip"]
    info, frames = open_clip(path)
    if not info.constant_rate:
        job.reporter.say(f"{path.name}: variable frame rate, resampled to {info.frame_rate} frames per second")
    found = []
    job.reporter.start("track", info.num_frames)
    for face, cut in follow(frames, DlibDetector()):
        found.append((face, cut))
        job.reporter.advance()
    job.reporter.finish()
    missing = [i for i, (face, _) in enumerate(found) if face is None]
    if len(missing) == len(found):
        raise FaceNotFound(missing, len(found), "give one that shows a human face from the front", where=path)
    track = make_track(found, info.frame_rate)
    cuts = [int(i) for i in np.flatnonzero(track.cuts) if i > 0]
    if cuts:
        job.reporter.say(f"{path.name}: scene cuts at frames {spans(cuts)}")
    if missing:
        job.reporter.say(f"{path.name}: no face in {len(missing)} of {len(found)} frames ({spans(missing)})")
    save_track(job.folder, track, replace(info, num_frames=len(found)))


STAGE = Stage("track", 1, ("clip",), TrackParams, run)
