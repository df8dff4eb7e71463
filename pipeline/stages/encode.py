"""Frames to a video that plays anywhere, with the source's sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.artefacts import load_deltas, load_track
from pipeline.stage import Job, Stage
from pipeline.stages.synthesize import FRAMES
from pipeline.streams import open_frames
from reanimate.errors import ConfigError
from reanimate.faces.align import head_motion, put_back
from reanimate.images import resize
from reanimate.types import Float32, UInt8, VideoInfo
from reanimate.video import write_video

VIDEO = "video.mp4"


@dataclass(frozen=True, slots=True)
class EncodeParams:
    """What decides the file."""

    crf: int = 16
    """x264's quality, 0 (lossless) to 51."""
    size: int | None = None
    """Side of the video, px; None is the model's resolution."""
    head_motion: Literal["none", "roll", "all"] = "roll"
    """What of the source's head, less its mean in the shot, is put back: nothing, its roll, or roll, place and size."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.crf <= 51:
            raise ConfigError("crf", f"{self.crf} is not from 0 to 51")
        if self.size is not None and not 16 <= self.size <= 4096:
            raise ConfigError("size", f"{self.size} is not from 16 to 4096 px")


def run(job: Job) -> None:
    """Frames and the source's sound to video.mp4."""
    track, info = load_track(job.inputs["track"])
    _write(job, info, job.inputs["source"], head_motion(track.quads, track.cuts))


def run_silent(job: Job) -> None:
    """Frames to video.mp4 without sound."""
    pose = load_deltas(job.inputs["pose"])
    head = np.zeros((len(pose.deltas), 4), np.float32) if pose.head is None else pose.head
    _write(job, VideoInfo(0, 0, 0, pose.frame_rate, has_audio=False), None, head)


def _write(job: Job, info: VideoInfo, sound_from: Path | None, head: Float32) -> None:
    frames = open_frames(job.inputs["frames"] / FRAMES)
    job.reporter.start("encode", len(frames))
    write_video(job.folder / VIDEO, _finished(frames, head, job), info, sound_from=sound_from, crf=job.params.crf)
    job.reporter.finish()


def _finished(frames: UInt8, head: Float32, job: Job) -> Iterator[UInt8]:
    size, keep = job.params.size or frames.shape[1], job.params.head_motion
    for frame, row in zip(frames, head, strict=True):
        if keep == "none":
            yield frame if size == len(frame) else resize(frame, size, size)
        else:
            yield put_back(frame, row if keep == "all" else row * (1, 0, 0, 0), size)
        job.reporter.advance()


STAGE = Stage("encode", 2, ("frames", "track", "source"), EncodeParams, run)
SILENT = Stage("encode-silent", 2, ("frames", "pose"), EncodeParams, run_silent)
