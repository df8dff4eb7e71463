"""What to ask of a target so that it shows what the source shows: its movements are drawn, looked at and mended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.artefacts import Like, load_arrays, load_deltas, load_identity, load_rehearsal, save_arrays
from pipeline.stage import Job, Stage
from pipeline.tuned import tuned_generator
from reanimate.calibration import look_at, painted
from reanimate.errors import ConfigError
from reanimate.moves import as_others_see, mended, rehearsed
from reanimate.reading import read
from reanimate.smoothing import window_frames
from reanimate.types import ATTRIBUTES, Float64

FILE = "asked.npz"
WINDOW = 0.4  # seconds that what is missing of mouths is averaged over
MATCHED: Like = {"asked": (np.float64, (None, len(ATTRIBUTES)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchParams:
    """How often movements are mended."""

    rounds: int = 3
    """How often every frame is drawn and looked at; with 0, what the source shows is asked for."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.rounds <= 100:
            raise ConfigError("rounds", f"{self.rounds} is not from 0 to 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchStageParams(MatchParams):
    """The same, and the model that draws."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Identity, Rehearsal and PoseDeltas to moves [T, A] to ask for."""
    pose, identity = load_deltas(job.inputs["pose"]), load_identity(job.inputs["identity"])
    rounds = 0 if pose.moves is None else job.params.rounds
    asked = np.zeros((len(pose.deltas), len(ATTRIBUTES))) if pose.moves is None else pose.moves.astype(np.float64)
    if rounds:
        rehearsal, wanted = load_rehearsal(job.inputs["rehearsal"]), asked
        generator = tuned_generator(job.params.model, job.device, job.inputs["rehearsal"])
        window = window_frames(WINDOW, pose.frame_rate)
        job.reporter.start("match", rounds * len(asked))
        for before in range(rounds):
            codes = torch.from_numpy(identity.ws + rehearsed(rehearsal, asked)).float().to(job.device)
            pictures = painted(generator, codes, job.reporter.advance)
            found = [(read(rehearsal.reader, some), look_at(some, moving=True).expression) for some in pictures]
            true, seen = (np.concatenate(parts) for parts in zip(*found, strict=True))
            asked = mended(rehearsal, wanted, asked, as_others_see(true, seen), window, before)
        job.reporter.finish()
    save_arrays(job.folder / FILE, {"asked": asked}, MATCHED)


def load_asked(folder: Path) -> Float64:
    """What a run of this stage wrote.

    Raises:
        StoreError: the file is missing or damaged.
    """
    asked: Float64 = load_arrays(folder / FILE, MATCHED)["asked"]
    return asked


STAGE = Stage("match", 34, ("identity", "pose", "rehearsal"), MatchStageParams, run)
