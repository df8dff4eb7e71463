"""The performance drawn towards what poses are in the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.artefacts import load_deltas, save_deltas
from pipeline.stage import Job, Stage
from pipeline.stages.subspace import load_subspace
from reanimate.errors import ConfigError
from reanimate.subspace import shrink


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineParams:
    """What is done to a performance; with 0, nothing is."""

    shrink: float = 0.0
    """How far deltas are drawn towards the directions in which poses lie."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.shrink <= 1:
            raise ConfigError("shrink", f"{self.shrink} is not from 0 to 1")


def run(job: Job) -> None:
    """PoseDeltas to PoseDeltas."""
    deltas, space = load_deltas(job.inputs["pose"]), load_subspace(job.inputs["subspace"])
    drawn = shrink(deltas.deltas.astype(np.float64), space, job.params.shrink)
    save_deltas(job.folder, replace(deltas, deltas=drawn.astype(np.float32)))


STAGE = Stage("refine", 2, ("pose", "subspace"), RefineParams, run)
