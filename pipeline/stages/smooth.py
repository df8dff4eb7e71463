"""The performance without its shaking."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artefacts import load_deltas, load_track, save_deltas
from pipeline.stage import Job, Stage
from reanimate.errors import ConfigError
from reanimate.motion import smooth


@dataclass(frozen=True, slots=True)
class SmoothParams:
    """What decides the smoothing."""

    seconds: float = 0.12
    """Width of the moving average; 0 leaves the motion as it is."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.seconds <= 10:
            raise ConfigError("seconds", f"{self.seconds} is not from 0 to 10")


def run(job: Job) -> None:
    """PoseDeltas to PoseDeltas; no window reaches over a cut."""
    track, _ = load_track(job.inputs["track"])
    save_deltas(job.folder, smooth(load_deltas(job.inputs["pose"]), job.params.seconds, track.cuts))


STAGE = Stage("smooth", 1, ("pose", "track"), SmoothParams, run)
