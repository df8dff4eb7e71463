"""The face of every frame as an upright crop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.artefacts import load_track
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip, spans
from pipeline.streams import FrameWriter
from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop
from reanimate.faces.light import brightness, even_light, lit
from reanimate.types import FaceTrack, UInt8, shots

CROPS = "crops.npy"
SAID = 0.1  # spread of the factors from which on it is worth a word
LEAST_SHARE = 0.1  # of frames with a face, below which a clip is hardly of a face at all


@dataclass(frozen=True, slots=True)
class AlignParams:
    """What decides the crops."""

    resolution: int = 0
    """R of the model, px; taken from it."""
    on_missing_face: Literal["error", "interpolate", "ignore"] = "interpolate"
    """A frame without a face: an error; filled from its neighbours as long as most of the clip has faces; or however
    few there are."""
    light: Literal["as-filmed", "even"] = "even"
    """Whether a shot's changes of light are taken out, so that they are no movement."""


def run(job: Job) -> None:
    """Video and FaceTrack to crops.npy [T, R, R, 3]."""
    path, params = job.inputs["clip"], job.params
    track, info = load_track(job.inputs["track"])
    missing = [int(i) for i in np.flatnonzero(~track.detected)]
    _check_missing(missing, info.num_frames, params.on_missing_face, path.name)
    for done in _filled(track):
        job.reporter.say(f"{path.name}: {done}")
    evened = params.light == "even" and info.num_frames > 1
    job.reporter.start("align", info.num_frames * (2 if evened else 1))
    gains = np.ones(info.num_frames)
    if evened:
        seen = [brightness(picture) for picture in _crops(job, track)]
        gains = even_light(np.array(seen + [np.nan] * (info.num_frames - len(seen))), track.cuts)
    with FrameWriter(job.folder / CROPS, info.num_frames, params.resolution) as writer:
        for picture, gain in zip(_crops(job, track), gains, strict=False):
            writer.write(lit(picture, gain))
        if writer.count < info.num_frames:
            raise MediaError(path, f"gave {writer.count} frames where it gave {info.num_frames} before")
    job.reporter.finish()
    if np.ptp(gains) > SAID:
        job.reporter.say(f"{path.name}: light evened out, by factors from {gains.min():.2f} to {gains.max():.2f}")


def _filled(track: FaceTrack) -> list[str]:
    """What is done about frames without a face, in words."""
    found = []
    empty = [shot for shot in shots(track.cuts) if not track.detected[shot].any()]
    still = [i for shot in empty for i in range(shot.start, shot.stop)]
    filled = [int(i) for i in np.flatnonzero(~track.detected) if i not in set(still)]
    if filled:
        found.append(f"frames {spans(filled)} show no face and are filled from their neighbours in the shot")
    if still:
        found.append(f"frames {spans(still)} are shots without any face and do not move")
    return found


def _crops(job: Job, track: FaceTrack) -> Iterator[UInt8]:
    _, frames = open_clip(job.inputs["clip"])
    for frame, quad in zip(frames, track.quads, strict=False):
        yield crop(frame, quad, job.params.resolution)
        job.reporter.advance()


def _check_missing(missing: list[int], num_frames: int, policy: str, where: str) -> None:
    seen = num_frames - len(missing)
    if missing and policy == "error":
        raise FaceNotFound(missing, num_frames, "trim the clip or pass --on-missing-face interpolate", where)
    too_few = num_frames > 1 and (seen < 2 or seen < LEAST_SHARE * num_frames)
    if too_few and policy == "interpolate":
        raise FaceNotFound(missing, num_frames, "trim the clip, or go on with --on-missing-face ignore", where)


STAGE = Stage("align", 2, ("clip", "track"), AlignParams, run)
