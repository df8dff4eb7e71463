"""Frames to a video that plays anywhere, with the source's sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.artefacts import load_latents, load_track
from pipeline.stage import Job, Stage
from pipeline.stages.synthesize import FRAMES
from pipeline.streams import open_frames
from reanimate.errors import ConfigError
from reanimate.images import resize
from reanimate.types import UInt8, VideoInfo
from reanimate.video import write_video

VIDEO = "video.mp4"


@dataclass(frozen=True, slots=True)
class EncodeParams:
    """What decides the file."""

    crf: int = 16
    """x264's quality, 0 (lossless) to 51."""
    size: int | None = None
    """Side of the video, px; None is the model's resolution."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.crf <= 51:
            raise ConfigError("crf", f"{self.crf} is not from 0 to 51")
        if self.size is not None and not 16 <= self.size <= 4096:
            raise ConfigError("size", f"{self.size} is not from 16 to 4096 px")


def run(job: Job) -> None:
    """Frames and the source's sound to video.mp4."""
    _, info = load_track(job.inputs["track"])
    _write(job, info, job.inputs["source"])


def run_silent(job: Job) -> None:
    """Frames to video.mp4 without sound."""
    frame_rate = load_latents(job.inputs["latents"]).frame_rate
    _write(job, VideoInfo(0, 0, 0, frame_rate, has_audio=False), None)


def _write(job: Job, info: VideoInfo, sound_from: Path | None) -> None:
    frames = open_frames(job.inputs["frames"] / FRAMES)
    job.reporter.start("encode", len(frames))
    write_video(job.folder / VIDEO, _sized(frames, job), info, sound_from=sound_from, crf=job.params.crf)
    job.reporter.finish()


def _sized(frames: UInt8, job: Job) -> Iterator[UInt8]:
    size = job.params.size
    for frame in frames:
        yield frame if size is None else resize(frame, size, size)
        job.reporter.advance()


STAGE = Stage("encode", 1, ("frames", "track", "source"), EncodeParams, run)
SILENT = Stage("encode-silent", 1, ("frames", "latents"), EncodeParams, run_silent)
