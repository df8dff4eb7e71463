"""The performance without its shaking."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artefacts import load_deltas, save_deltas
from pipeline.stage import Job, Stage
from reanimate.errors import ConfigError
from reanimate.smoothing import Filter, smooth


@dataclass(frozen=True, slots=True)
class SmoothParams:
    """What decides the smoothing."""

    seconds: float = 0.12
    """Width of the window; 0 leaves the motion as it is."""
    method: Filter = "moving-average"
    """All but one-euro, which looks at no later frame, delay nothing."""
    group_seconds: tuple[float, float, float] | None = None
    """Widths for the coarse (4 and 8 px), middle (16 and 32 px) and fine codes instead."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for seconds in (self.seconds, *(self.group_seconds or ())):
            if not 0 <= seconds <= 10:
                raise ConfigError("seconds", f"{seconds} is not from 0 to 10")


def run(job: Job) -> None:
    """PoseDeltas to PoseDeltas; no window reaches over a cut."""
    deltas, params = load_deltas(job.inputs["pose"]), job.params
    save_deltas(job.folder, smooth(deltas, params.seconds, params.method, params.group_seconds))


STAGE = Stage("smooth", 6, ("pose",), SmoothParams, run)
