"""The face of every frame as an upright crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.artefacts import load_track
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip
from pipeline.streams import FrameWriter
from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop

CROPS = "crops.npy"
LEAST_SHARE = 0.1  # of frames with a face, below which a clip is hardly of a face at all


@dataclass(frozen=True, slots=True)
class AlignParams:
    """What decides the crops."""

    resolution: int = 0
    """R of the model, px; taken from it."""
    on_missing_face: Literal["error", "interpolate", "ignore"] = "interpolate"
    """A frame without a face: an error; filled from its neighbours as long as most of the clip has faces; or however
    few there are."""


def run(job: Job) -> None:
    """Video and FaceTrack to crops.npy [T, R, R, 3]."""
    path, params = job.inputs["clip"], job.params
    track, info = load_track(job.inputs["track"])
    missing = [int(i) for i in np.flatnonzero(~track.detected)]
    _check_missing(missing, info.num_frames, params.on_missing_face, path.name)
    _, frames = open_clip(path)
    job.reporter.start("align", info.num_frames)
    with FrameWriter(job.folder / CROPS, info.num_frames, params.resolution) as writer:
        for frame, quad in zip(frames, track.quads, strict=False):
            writer.write(crop(frame, quad, params.resolution))
            job.reporter.advance()
        if writer.count < info.num_frames:
            raise MediaError(path, f"gave {writer.count} frames where it gave {info.num_frames} before")
    job.reporter.finish()


def _check_missing(missing: list[int], num_frames: int, policy: str, where: str) -> None:
    seen = num_frames - len(missing)
    if missing and policy == "error":
        raise FaceNotFound(missing, num_frames, "trim the clip or pass --on-missing-face interpolate", where)
    too_few = num_frames > 1 and (seen < 2 or seen < LEAST_SHARE * num_frames)
    if too_few and policy == "interpolate":
        raise FaceNotFound(missing, num_frames, "trim the clip, or go on with --on-missing-face ignore", where)


STAGE = Stage("align", 1, ("clip", "track"), AlignParams, run)
