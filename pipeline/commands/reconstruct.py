"""How well faces survive inversion, and how much a model's own faces are like them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from reanimate.calibration import painted
from reanimate.checkpoints.bundle import Bundle
from reanimate.errors import MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import DlibDetector
from reanimate.images import read_image, sheet, to_tensor, write_image
from reanimate.inversion.features import SqueezeNetFeatures, picture_distances
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import make_loss
from reanimate.metrics import (
    SAME_PERSON,
    LpipsNet,
    descriptor_at,
    face_descriptor,
    frechet_distance,
    kernel_distance,
    lpips_distance,
    nearest,
    psnr,
)
from reanimate.types import UInt8

Float64 = NDArray[np.float64]

BATCH = 8
SAMPLES = 1000  # random pictures that are compared with the faces
SHOWN = 64  # faces and samples on a sheet
COLUMNS = 16
BLENDS = (8, 9)  # pairs of people, and pictures from one to the other
_FARTHEST = 2.0  # dlib's descriptor is about 1.4 from its origin; no face is that far from another


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """The faces that are asked about."""

    crops: UInt8
    """[N, R, R, 3]"""
    descriptors: Float64
    """[N, 128] of the photographs."""
    people: NDArray[np.str_]
    """[N] who they show."""


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What is measured beside dlib's descriptor and PSNR."""

    features: SqueezeNetFeatures | None = None
    lpips: LpipsNet | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilt:
    """Faces that went through the model."""

    pictures: UInt8
    """[N, R, R, 3]"""
    ws: torch.Tensor
    """[N, L, D]"""
    passes: float
    """Per face."""
    seconds: float
    """Per face."""


def measure(
    gallery: Gallery, bundle: Bundle, ways: Mapping[str, InvertParams], by: Yardsticks, sheets: Path | None, device: str
) -> dict[str, Any]:
    """A row for the crops themselves and for each way to invert them; with features, the model's own faces beside
    them. `sheets` is a folder to draw into.
    """
    if by.lpips is not None:
        blank = np.zeros((64, 64, 3), np.uint8)
        lpips_distance(blank, blank, by.lpips)  # that weights are missing is known before the work
    if bundle.encoder is not None:
        first = next(iter(ways.values()))
        ways = {"encoder": replace(first, first_steps=0, init="encoder"), **ways}
    rebuilt = {name: _invert(gallery.crops, bundle, params, device, name) for name, params in ways.items()}
    rows = {"crop": _row(gallery.crops, gallery, by, device, "crop")}
    for name, found in rebuilt.items():
        cost = {"passes": round(found.passes, 1), "seconds": round(found.seconds, 3)}
        rows[name] = _row(found.pictures, gallery, by, device, name) | cost
    result: dict[str, Any] = {"faces": len(gallery.crops), "rows": rows}
    if by.features is not None and len(gallery.crops) > 1:
        result["samples"] = _compare(gallery.crops, bundle, by.features, device)
    if sheets is not None:
        _draw(sheets, gallery.crops, rebuilt, bundle)
    return result


def open_gallery(photographs: Sequence[tuple[Path, str]], resolution: int) -> Gallery:
    """The largest face of each photograph, of which the file and the person are given; those without one are left out.

    Raises:
        MediaError: a file is not a picture, or none shows a face.
    """
    crops, descriptors, kept, detector = [], [], [], DlibDetector()
    with click.progressbar(photographs, label="aligning", file=sys.stderr) as bar:
        for path, person in bar:
            picture = read_image(path)
            faces = detector.detect(picture)
            if faces:
                largest = max(faces, key=lambda face: face.area)
                crops.append(crop(picture, quad_from_landmarks(largest.landmarks), resolution))
                descriptors.append(descriptor_at(picture, largest.landmarks))
                kept.append(person)
    if not crops:
        raise MediaError(photographs[0][0].parent, "no picture shows a face")
    return Gallery(np.stack(crops), np.stack(descriptors), np.array(kept))


def _invert(crops: UInt8, bundle: Bundle, params: InvertParams, device: str, label: str) -> Rebuilt:
    loss = make_loss(params.loss, params.norm, device=device, own=bundle.features)
    inverter = Inverter(bundle.generator, bundle.encoder, loss, params)
    pictures, ws, passes, seconds = [], [], 0, 0.0
    for target in _batches(crops, label, device):
        began = time.perf_counter()
        solution = inverter.first(target)
        seconds += time.perf_counter() - began
        passes += solution.passes * len(target)
        ws.append(solution.ws)
        pictures.append(_paint(bundle, solution.ws))
    return Rebuilt(np.concatenate(pictures), torch.cat(ws), passes / len(crops), seconds / len(crops))


def _batches(pictures: UInt8, label: str, device: str) -> Iterator[torch.Tensor]:
    with click.progressbar(range(0, len(pictures), BATCH), label=label, file=sys.stderr) as bar:
        for start in bar:
            yield to_tensor(pictures[start : start + BATCH]).to(device)


def _paint(bundle: Bundle, ws: torch.Tensor) -> UInt8:
    return np.concatenate(list(painted(bundle.generator, ws)))


def _row(pictures: UInt8, gallery: Gallery, by: Yardsticks, device: str, label: str) -> dict[str, float | int]:
    """What is left of the faces. One in which the detector sees no face counts as somebody else, at distance 1."""
    with click.progressbar(pictures, label=f"measuring {label}", file=sys.stderr) as bar:
        seen = [face_descriptor(picture) for picture in bar]
    blind = np.array([found is None for found in seen])
    known = np.array([np.full(128, _FARTHEST) if found is None else found for found in seen])
    distances = np.where(blind, 1.0, np.linalg.norm(known - gallery.descriptors, axis=1))
    first = nearest(known, gallery.descriptors)
    pairs = list(zip(pictures, gallery.crops, strict=True))
    row: dict[str, float | int] = {
        "mean_distance": round(float(distances.mean()), 3),
        "same_person": int((distances < SAME_PERSON).sum()),
        "share": round(float((distances < SAME_PERSON).mean()), 3),
        "rank1": round(float((~blind & (first == np.arange(len(first)))).mean()), 3),
        "rank1_person": round(float((~blind & (gallery.people[first] == gallery.people)).mean()), 3),
        "no_face_seen": int(blind.sum()),
        "psnr_db": round(float(np.mean([min(psnr(a, b), 99.0) for a, b in pairs])), 2),
    }
    if by.features is not None:
        row["squeezenet"] = round(float(picture_distances(pictures, gallery.crops, by.features).mean()), 4)
    if by.lpips is not None:
        row["lpips"] = round(float(np.mean([lpips_distance(a, b, by.lpips) for a, b in pairs])), 4)
    return row


def _compare(crops: UInt8, bundle: Bundle, network: SqueezeNetFeatures, device: str) -> dict[str, float | int]:
    """Random pictures, untruncated, against the faces, in SqueezeNet's features."""
    sides = [_pooled(pictures, network, device) for pictures in (_samples(bundle, SAMPLES, 1.0), crops)]
    return {
        "count": SAMPLES,
        "frechet": round(frechet_distance(*sides), 3),
        "kernel": round(kernel_distance(*sides), 5),
    }


def _samples(bundle: Bundle, count: int, psi: float) -> UInt8:
    generator = bundle.generator
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg.device)
    with torch.no_grad():
        return _paint(bundle, generator.mapping(z, truncation_psi=psi))


@torch.no_grad()
def _pooled(pictures: UInt8, network: SqueezeNetFeatures, device: str) -> Float64:
    """[N, F] features after fire9, averaged over positions of √F length each, so that the kernel is near its bend."""
    parts = []
    for batch in _batches(pictures, "comparing", device):
        last = network(batch)[-1]
        parts.append(functional.normalize(last).mean((2, 3)).mul(last.shape[1] ** 0.5).cpu())
    return torch.cat(parts).double().numpy()


def _draw(folder: Path, crops: UInt8, rebuilt: Mapping[str, Rebuilt], bundle: Bundle) -> None:
    """reconstructions.png, samples.png and interpolations.png."""
    rows: list[list[UInt8]] = []
    for start in range(0, min(SHOWN, len(crops)), COLUMNS):
        kinds = (crops, *(found.pictures for found in rebuilt.values()))
        rows += [list(kind[start : start + COLUMNS]) for kind in kinds]
    write_image(folder / "reconstructions.png", sheet(rows), synthetic=True)
    samples = list(_samples(bundle, SHOWN, 1.0))
    tiled = [samples[i : i + COLUMNS] for i in range(0, SHOWN, COLUMNS)]
    write_image(folder / "samples.png", sheet(tiled), synthetic=True)
    if len(crops) > 1:
        _draw_blends(folder / "interpolations.png", list(rebuilt.values())[-1].ws, bundle)


def _draw_blends(path: Path, ws: torch.Tensor, bundle: Bundle) -> None:
    """A row for each of some pairs, from one's code to the other's; neighbours are often the same person."""
    away = len(ws) // 2
    pairs = [(ws[i], ws[i + away]) for i in range(min(BLENDS[0], away))]
    shares = torch.linspace(0, 1, BLENDS[1], device=ws.device)
    rows = [list(_paint(bundle, torch.stack([torch.lerp(a, b, share) for share in shares]))) for a, b in pairs]
    write_image(path, sheet(rows), synthetic=True)
