"""What a detector sees in each crop by itself, knowing nothing of the other frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artefacts import Like, save_arrays
from pipeline.stage import Job, Stage
from pipeline.stages.align import CROPS
from pipeline.streams import open_frames
from reanimate.faces.detect import DlibDetector
from reanimate.metrics import surest_face

SEEN = "seen.npz"
LANDMARKS: Like = {"landmarks": (np.float32, (None, 68, 2))}


@dataclass(frozen=True, slots=True)
class LookParams:
    """Nothing to choose."""


def run(job: Job) -> None:
    """Crops to landmarks [T, 68, 2] px of the enlarged crop, NaN where no face is seen."""
    crops, detector = open_frames(job.inputs["crops"] / CROPS), DlibDetector()
    landmarks = np.full((len(crops), 68, 2), np.nan, np.float32)
    job.reporter.start("look", len(crops))
    for t, picture in enumerate(crops):
        seen = surest_face(picture, detector)
        if seen is not None:
            landmarks[t] = seen[1].landmarks
        job.reporter.advance()
    job.reporter.finish()
    save_arrays(job.folder / SEEN, {"landmarks": landmarks}, LANDMARKS)


STAGE = Stage("look", 2, ("crops",), LookParams, run)
