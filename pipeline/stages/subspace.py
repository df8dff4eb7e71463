"""Where poses lie among a model's codes, from pictures that it makes itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.artefacts import Like, load_arrays, save_arrays
from pipeline.stage import Job, Stage
from reanimate.calibration import draw, look_at, painted
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ModelError
from reanimate.subspace import Subspace, measure
from reanimate.types import ATTRIBUTES

FILE = "subspace.npz"
MEASURED: Like = {
    "directions": (np.float64, (len(ATTRIBUTES), None)),
    "covariance": (np.float64, (None, None)),
    "bound": (np.float64, (1,)),
}
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SubspaceParams:
    """What is measured."""

    faces: int = 768
    """Drawn and looked at."""
    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """A model to subspace.npz."""
    params = job.params
    generator = load_bundle(params.model, job.device).generator
    ws = draw(generator, params.faces)
    seen, colours = [], []
    job.reporter.start("subspace", len(ws))
    for pictures in painted(generator, ws, job.reporter.advance):
        seen.append(look_at(pictures).expression)
        colours.append(pictures.mean((1, 2)))
    job.reporter.finish()
    try:
        found = measure(ws[:, 0].cpu().double().numpy(), np.concatenate(seen), np.concatenate(colours))
    except ValueError as error:
        reason = "hardly any of its pictures shows a face, so that nothing is known of poses; do without "
        raise ModelError(params.model, f"{reason}--shrink and --limit") from error
    arrays = {"directions": found.directions, "covariance": found.covariance, "bound": np.array([found.bound])}
    save_arrays(job.folder / FILE, arrays, MEASURED)


def load_subspace(folder: Path) -> Subspace:
    """What was measured.

    Raises:
        StoreError: the file is missing or damaged.
    """
    arrays = load_arrays(folder / FILE, MEASURED)
    return Subspace(arrays["directions"], arrays["covariance"], float(arrays["bound"][0]))


STAGE = Stage("subspace", 2, (), SubspaceParams, run)
