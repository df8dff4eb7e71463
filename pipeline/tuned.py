"""Generators that a rehearsal has tuned: what is kept of them, and where they come back from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pipeline.artefacts import Like, load_arrays, save_arrays
from pipeline.disk import damaged
from reanimate.checkpoints.bundle import load_bundle
from reanimate.generators.protocol import Generator
from reanimate.inversion.tune import kernels

FILE = "kernels.npz"


def save_kernels(folder: Path, generator: Generator) -> None:
    """Write kernels.npz.

    Raises:
        StoreError: the disk would not have it.
    """
    arrays = {name: weight.detach().cpu().numpy() for name, weight in kernels(generator).items()}
    save_arrays(folder / FILE, arrays, _like(generator))


def tuned_generator(model: str, device: str, rehearsal: Path | None) -> Generator:
    """A bundle's generator; as the rehearsal in that folder left it, if it tuned one.

    Raises:
        StoreError: the file is damaged, or of another model.
    """
    generator = load_bundle(model, device).generator
    # a rehearsal's manifest says which files it has: where this one is not, none was written
    if rehearsal is not None and (path := rehearsal / FILE).exists():
        arrays = load_arrays(path, _like(generator))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise damaged(path, "kernels that are not finite")
        with torch.no_grad():
            for name, weight in kernels(generator).items():
                weight.copy_(torch.from_numpy(arrays[name]))
    return generator


def _like(generator: Generator) -> Like:
    return {name: (np.float32, tuple(weight.shape)) for name, weight in kernels(generator).items()}
