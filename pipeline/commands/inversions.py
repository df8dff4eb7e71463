"""What ways of inverting a clip cost and how close they come, in one run over the same frames."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
import torch

from reanimate.agreement import restlessness, undisturbed
from reanimate.checkpoints.bundle import Bundle
from reanimate.errors import ConfigError, WeightsUnavailable
from reanimate.images import to_pictures
from reanimate.inversion.clip import ClipInversion
from reanimate.inversion.features import SqueezeNetFeatures, picture_distances
from reanimate.inversion.invert import PRESETS, Inverter, InvertParams
from reanimate.inversion.losses import make_loss
from reanimate.metrics import face_descriptor
from reanimate.types import FaceTrack, UInt8

BATCH = 32
STEP_SIZES = (0.1, 0.25, 0.5)  # of the tuned cold run, in units of W's RMS
PROJECTOR_LR = 0.1  # W+ units
CURVE = (0, 5, 10, 20)  # passes of frames
DEEP = 200  # passes of the cold runs that learn curvature
HELD = 1.0  # proximity, for the row with it

Row = dict[str, Any]
Way = tuple[InvertParams, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The clip and what it is measured by."""

    crops: UInt8
    track: FaceTrack
    bundle: Bundle
    device: str
    features: SqueezeNetFeatures | None
    slow: list[int]
    """Frames that stand for the clip where a way takes minutes a frame."""


def ways(default: InvertParams, has_encoder: bool, unit: float) -> dict[str, Way]:
    """Parameters by row, and whether it is only for the slow frames. `unit` is W's RMS."""
    cold = replace(PRESETS["paper"], loss=default.loss, norm=default.norm, space=default.space)
    tuned = replace(cold, init="mean", decay=True)
    rows = {"paper: 1000 from zeros": (cold, True)}
    rows["paper with VGG16: 1000 from zeros"] = (replace(cold, loss="vgg16"), True)
    rows |= {f"cold: 1000 from the mean, lr {lr}": (replace(tuned, lr=lr), True) for lr in STEP_SIZES}
    rows["projector: 1000 from the mean, lr 0.1 in W+ units"] = (replace(tuned, lr=PROJECTOR_LR / unit), True)
    together = replace(default, init="mean", warm_start=False, lanes=8, first_steps=DEEP)
    rows[f"cold: {DEEP} from the mean, curvature"] = (together, True)
    plain = replace(default, init="mean", optimiser="adam", lr=0.25, warm_lr=0.05)
    rows["previous frame, adam"] = (plain, False)
    if has_encoder:
        rows["encoder alone"] = (replace(default, first_steps=0, steps=0), False)
        rows[f"encoder, curvature: {DEEP} a frame"] = (replace(together, init="encoder"), True)
    rows |= {f"default with {n} passes a frame": (replace(default, steps=n), False) for n in CURVE}
    rows[f"default, proximity {HELD:g}"] = (replace(default, proximity=HELD), False)
    rows["default, one lane"] = (replace(default, lanes=1), False)
    rows["default, eight lanes"] = (replace(default, lanes=8), False)
    rows["eight lanes, half carried, 20 passes a frame"] = (replace(default, lanes=8, carried=0.5, steps=20), False)
    rows["default, float32"] = (replace(default, precision="float32"), False)
    rows["default"] = (default, False)
    return rows


def named(rows: Mapping[str, Way], names: Sequence[str]) -> dict[str, Way]:
    """The rows of these names, in the table's order; all of them where none is named.

    Raises:
        ConfigError: a name that no row has.
    """
    for name in names:
        if name not in rows:
            raise ConfigError("row", f"none is called {name!r}; there are: {'; '.join(rows)}")
    return {name: way for name, way in rows.items() if not names or name in names}


def measure(material: Material, chosen: Mapping[str, Way]) -> Iterator[tuple[str, Row]]:
    """A row for each way, as it is done; one that cannot be run says why."""
    source = [face_descriptor(crop) for crop in material.crops]
    for name, (params, slow) in chosen.items():
        try:
            yield name, _row(material, params, material.slow if slow else None, source, name)
        except WeightsUnavailable as error:
            yield name, {"absent": str(error)}


def _row(material: Material, params: InvertParams, only: list[int] | None, source: Sequence[Any], name: str) -> Row:
    track, known = material.track, material.track.detected.copy()
    if only is not None:
        known[:] = False
        known[only] = True
    bundle = material.bundle
    loss = make_loss(params.loss, params.norm, device=material.device, own=bundle.features)
    clip = ClipInversion(Inverter(bundle.generator, bundle.encoder, loss, params), material.crops, known, track.cuts)
    passes, seconds = 0, 0.0
    with click.progressbar(length=clip.num_frames, label=name, file=sys.stderr) as bar:
        began = time.perf_counter()
        for step in clip.run():
            passes += step.solution.passes * len(step.frames)
            seconds, done = time.perf_counter() - began, len(clip.solved)
            bar.update(done - bar.pos)
    frames = sorted(clip.solved)
    pictures = _paint(clip, frames)
    compared = [frame for frame in material.slow if frame in clip.solved]
    at = [frames.index(frame) for frame in compared]
    row: Row = {
        "frames": len(frames),
        "passes": round(passes / len(frames), 1),
        "seconds": round(seconds / len(frames), 3),
        "loss": _digits(clip.losses[frames].mean()),
        "loss_slow": _digits(clip.losses[compared].mean()),
        "identity": _identity(pictures, frames, source),
        "identity_slow": _identity(pictures[at], compared, source),
    }
    if material.features is not None:
        distances = picture_distances(pictures, material.crops[frames], material.features)
        row |= {"squeezenet": _digits(distances.mean()), "squeezenet_slow": _digits(distances[at].mean())}
    if only is None:
        row |= _steadiness(pictures, frames, material, clip)
    return row


def _steadiness(pictures: UInt8, frames: list[int], material: Material, clip: ClipInversion) -> Row:
    """Flicker of the pictures over that of the crops, and steps of the code at seams over those elsewhere."""
    track = material.track
    counted = undisturbed(track.detected, track.cuts)
    whole = material.crops.copy()
    whole[frames] = pictures
    flicker = restlessness(whole)[counted].mean() / max(float(restlessness(material.crops)[counted].mean()), 1e-9)
    steady: list[int] = np.flatnonzero(counted).tolist()
    moved = {t: float((clip.solved[t] - clip.solved[t - 1]).square().mean().sqrt()) for t in steady}
    seams = [first for first in (min(segment.frames) for segment in clip.segments) if first in moved]
    inside = [size for frame, size in moved.items() if frame not in seams]
    if not seams or not inside:
        return {"flicker": _digits(flicker)}
    return {"flicker": _digits(flicker), "seams": _digits(np.mean([moved[s] for s in seams]) / np.mean(inside))}


@torch.no_grad()
def _paint(clip: ClipInversion, frames: list[int]) -> UInt8:
    chunks = [frames[i : i + BATCH] for i in range(0, len(frames), BATCH)]
    parts = [clip.inverter.draw(torch.stack([clip.solved[t] for t in chunk])) for chunk in chunks]
    return np.concatenate([to_pictures(part) for part in parts])


def _identity(pictures: UInt8, frames: list[int], source: Sequence[Any]) -> float | None:
    """Mean distance of dlib's descriptors; 1 for a picture in which no face is seen."""
    found = []
    for picture, frame in zip(pictures, frames, strict=True):
        if source[frame] is not None:
            seen = face_descriptor(picture)
            found.append(1.0 if seen is None else float(np.linalg.norm(seen - source[frame])))
    return _digits(np.mean(found)) if found else None


def _digits(value: Any) -> float:
    return round(float(value), 4)
