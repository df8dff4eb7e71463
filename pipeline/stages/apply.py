"""The performance on another identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artefacts import load_deltas, load_identity, save_latents
from pipeline.stage import Job, Stage
from reanimate.errors import ConfigError, MediaError
from reanimate.motion import apply
from reanimate.types import Latents


@dataclass(frozen=True, slots=True)
class ApplyParams:
    """How much of the performance is applied, and where."""

    gain: float = 1.0
    layers: tuple[int, ...] | None = None
    """0-based indices of the codes that move; None moves all."""
    scale: float | None = None
    """W+ units per unit of pose; None is the clip's own RMS."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not abs(self.gain) <= 100:
            raise ConfigError("gain", f"{self.gain} is not from -100 to 100")
        if self.scale is not None and not 0 <= self.scale <= 1e6:
            raise ConfigError("scale", f"{self.scale} is not from 0 to 1000000")


def run(job: Job) -> None:
    """Identity and PoseDeltas to Latents."""
    params, deltas = job.params, load_deltas(job.inputs["pose"])
    identity = load_identity(job.inputs["identity"])
    if identity.ws.shape != deltas.deltas.shape[1:]:  # a file may claim any model
        raise MediaError("pose", f"has {deltas.deltas.shape[1:]} numbers a frame, the model {identity.ws.shape}")
    ws = apply(identity, deltas, params.gain, params.scale, params.layers)
    save_latents(job.folder, Latents(ws, np.full(len(ws), np.nan, np.float32), deltas.frame_rate))


STAGE = Stage("apply", 1, ("identity", "pose"), ApplyParams, run)
