"""How well faces survive inversion."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.commands.options import Setup
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import DlibDetector
from reanimate.images import read_image, sheet, to_pictures, to_tensor, write_image
from reanimate.inversion.invert import Inverter
from reanimate.inversion.losses import make_loss
from reanimate.metrics import SAME_PERSON, descriptor_at, face_descriptor, psnr
from reanimate.types import UInt8

BATCH = 8
SHEET_FACES = 24


def measure(paths: Sequence[Path], setup: Setup, sheet_path: Path | None) -> dict[str, Any]:
    """Counts, descriptor distances to the photographs, PSNR and time. A reconstruction in which the detector sees no
    face counts as somebody else, at distance 1.
    """
    bundle = load_bundle(str(setup.model.folder), setup.device)
    params = setup.chosen["invert"]
    loss = make_loss(params.loss, params.norm, device=setup.device)
    inverter = Inverter(bundle.generator, bundle.encoder, loss, params)
    crops, originals = _crops(paths, bundle.generator.resolution)
    optimised, encoded, passes, seconds = [], [], [], 0.0
    with click.progressbar(range(0, len(crops), BATCH), label="inverting", file=sys.stderr) as bar:
        for start in bar:
            target = to_tensor(crops[start : start + BATCH]).to(setup.device)
            began = time.perf_counter()
            solution = inverter.first(target)
            seconds += time.perf_counter() - began
            passes.append(solution.passes)
            with torch.no_grad():
                optimised += list(to_pictures(bundle.generator.synthesis(solution.ws)))
                if bundle.encoder is not None:
                    encoded += list(to_pictures(bundle.generator.synthesis(bundle.encoder(target))))
    if sheet_path is not None:
        rows = [list(crops), encoded or list(crops), optimised]
        tiled = [row[i : i + 12] for i in range(0, min(SHEET_FACES, len(crops)), 12) for row in rows]
        write_image(sheet_path, sheet(tiled), synthetic=True)
    result = {
        "faces": len(crops),
        "passes_per_face": round(float(np.mean(passes)), 1),
        "seconds_per_face": round(seconds / len(crops), 3),
        "crop": _agreement(list(crops), list(crops), originals),
        "optimised": _agreement(optimised, list(crops), originals),
    }
    return result | ({"encoder": _agreement(encoded, list(crops), originals)} if encoded else {})


def _crops(paths: Sequence[Path], resolution: int) -> tuple[UInt8, list[NDArray[np.float64]]]:
    """Aligned faces [N, R, R, 3] and descriptors of the photographs; photographs without a face are left out."""
    crops, originals, detector = [], [], DlibDetector()
    for path in paths:
        picture = read_image(path)
        faces = detector.detect(picture)
        if faces:
            largest = max(faces, key=lambda face: face.area)
            crops.append(crop(picture, quad_from_landmarks(largest.landmarks), resolution))
            originals.append(descriptor_at(picture, largest.landmarks))
    if not crops:
        raise MediaError(paths[0].parent, "no picture shows a face")
    return np.stack(crops), originals


def _agreement(
    pictures: list[UInt8], crops: list[UInt8], originals: list[NDArray[np.float64]]
) -> dict[str, float | int]:
    seen = [face_descriptor(picture) for picture in pictures]
    distances = np.array(
        [1.0 if a is None else float(np.linalg.norm(a - b)) for a, b in zip(seen, originals, strict=True)]
    )
    return {
        "same_person": int((distances < SAME_PERSON).sum()),
        "share": round(float((distances < SAME_PERSON).mean()), 3),
        "mean_distance": round(float(distances.mean()), 3),
        "no_face_seen": sum(a is None for a in seen),
        "psnr_db": round(float(np.mean([min(psnr(a, b), 99.0) for a, b in zip(pictures, crops, strict=True)])), 2),
    }
