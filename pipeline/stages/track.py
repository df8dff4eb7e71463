"""Where the face is in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.artefacts import save_track
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip, spans
from reanimate.errors import ConfigError, FaceNotFound
from reanimate.faces.align import ANGLE_SIGMA, CENTRE_SIGMA
from reanimate.faces.detect import DlibDetector
from reanimate.faces.track import LARGEST, Follower, check_who, make_track


@dataclass(frozen=True, slots=True)
class TrackParams:
    """Whose face is followed, and how steady the crops are."""

    face: str = LARGEST
    """In each shot: largest, left, right, or a number from the left, beginning with 1."""
    centre_seconds: float = CENTRE_SIGMA
    """Standard deviation of the Gaussian that smooths the crop's place over time."""
    roll_seconds: float = ANGLE_SIGMA
    """The same of its roll."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not check_who(self.face):
            raise ConfigError("face", f"{self.face!r} is not largest, left, right or a number from 1")
        for seconds in (self.centre_seconds, self.roll_seconds):
            if not 0 <= seconds <= 10:
                raise ConfigError("track", f"{seconds} seconds are not from 0 to 10")


def run(job: Job) -> None:
    """Video to FaceTrack."""
    path, params = job.inputs["clip"], job.params
    info, frames = open_clip(path)
    if not info.constant_rate:
        job.reporter.say(f"{path.name}: variable frame rate, resampled to {info.frame_rate} frames per second")
    follower, found = Follower(DlibDetector(), params.face), []
    job.reporter.start("track", info.num_frames)
    for frame in frames:
        found.append(follower.feed(frame))
        job.reporter.advance()
    job.reporter.finish()
    missing = [i for i, (face, _) in enumerate(found) if face is None]
    if len(missing) == len(found):
        hint = "give one that shows a human face from the front"
        if follower.most_faces:
            hint = f"{follower.most_faces} at most are seen at once: choose another with --face"
        raise FaceNotFound(missing, len(found), hint, where=path)
    track = make_track(found, info.frame_rate, params.centre_seconds, params.roll_seconds)
    if follower.most_faces > 1:
        job.reporter.say(f"{path.name}: up to {follower.most_faces} faces at once, followed: {params.face}; "
                         f"numbered by: reanimate faces {path.name}; another by: --face")  # fmt: skip
    cuts = [int(i) for i in np.flatnonzero(track.cuts) if i > 0]
    if cuts:
        job.reporter.say(f"{path.name}: scene cuts at frames {spans(cuts)}; a face is chosen anew in each shot")
    if missing:
        job.reporter.say(f"{path.name}: no face in {len(missing)} of {len(found)} frames ({spans(missing)})")
    save_track(job.folder, track, replace(info, num_frames=len(found)))


STAGE = Stage("track", 3, ("clip",), TrackParams, run)
