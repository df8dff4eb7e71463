"""A folder of photographs as one file of aligned crops, and batches of it.

The file is an npz: every crop a WebP blob, so that thousands of faces are tens of MiB and travel easily. Crops hold a
margin around the FFHQ quad, so that the alignment can be jittered in training without looking over the edge.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop_around, in_crop, quad_from_landmarks
from reanimate.faces.puppet import sampled_at
from reanimate.images import decode, encode_webp, is_picture, read_image
from reanimate.types import Bool, Float32, UInt8

MARGIN = 1.125  # side of the stored crop over side of the FFHQ quad
QUALITY = 90  # WebP
HELD_OUT = 10  # one identity in this many is never trained on
FORMAT = "reanimate-faces-1"

Sample = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Pictures [N, 3, S, S] at places [N, H, W, 2]; see `sampled_at`."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Aligned faces with their margin, and what is known of each."""

    pictures: UInt8
    """[N, S, S, 3] RGB with S = R * MARGIN."""
    landmarks: Float32
    """[N, 68, 2] px of the crop without its margin, at the resolution the file was made for."""
    names: NDArray[np.str_]
    """[N] path below the folder, which begins with the identity."""
    resolution: int
    """R, px of the crop without its margin."""

    @property
    def held_out(self) -> Bool:
        """[N] True for faces of people that training never sees."""
        return np.array([is_held_out(identity(name)) for name in self.names])

    @property
    def known_landmarks(self) -> Float32:
        """[M, 68, 2] of the faces that training sees, in crops of side 1."""
        return (self.landmarks[~self.held_out] / self.resolution).astype(np.float32)


def identity(name: str) -> str:
    """Who a file shows: the folder it lies in, or its own name in a flat folder."""
    return name.rpartition("/")[0] or name


def is_held_out(person: str) -> bool:
    """Whether a person belongs to the tenth that is kept for measuring: a property of the name alone."""
    return int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") % HELD_OUT == 0


def prepare(folder: Path, resolution: int, workers: int = 1) -> Iterator[tuple[int, int, bytes | None]]:
    """Align every photograph below `folder`; yields (done, total, None), and last (total, total, npz bytes).

    Raises:
        MediaError: there are no pictures, or none shows a face.
    """
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if is_picture(p))
    if not names:
        raise MediaError(folder, "no pictures below this folder")
    kept: list[tuple[str, bytes, Float32]] = []
    # spawned, not forked: a fork inherits opencv's pool of threads without its threads, and waits for them for ever
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = pool.map(_align_one, [folder / n for n in names], [resolution] * len(names), chunksize=16)
        for done, (name, result) in enumerate(zip(names, jobs, strict=True), 1):
            if result is not None:
                kept.append((name, *result))
            yield done, len(names), None
    if not kept:
        raise FaceNotFound(range(len(names)), len(names), where=folder)
    yield len(names), len(names), _pack(kept, resolution)


def _align_one(path: Path, resolution: int) -> tuple[bytes, Float32] | None:
    from reanimate.faces.detect import DlibDetector

    cv2.setNumThreads(1)
    try:
        picture = read_image(path)
    except MediaError:
        return None  # a broken file among thousands is left out; the count of kept faces is reported
    faces = DlibDetector().detect(picture, thorough=False)
    if not faces:
        return None
    centre_px = np.array(picture.shape[1::-1]) / 2
    # photographs of one person often show a bystander: the face nearest the middle is the one meant
    face = min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(0) - centre_px)))
    quad = quad_from_landmarks(face.landmarks)
    pixels = crop_around(picture, quad, MARGIN, round(resolution * MARGIN))
    return encode_webp(pixels, QUALITY), in_crop(face.landmarks, quad, resolution)


def _pack(kept: list[tuple[str, bytes, Float32]], resolution: int) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        format=np.array(FORMAT),
        resolution=np.array(resolution),
        names=np.array([name for name, _, _ in kept]),
        blobs=np.frombuffer(b"".join(blob for _, blob, _ in kept), np.uint8),
        ends=np.cumsum([len(blob) for _, blob, _ in kept]),
        landmarks=np.stack([points for _, _, points in kept]),
    )
    return buffer.getvalue()


def load_faces(path: Path) -> Faces:
    """The faces in a file that `prepare` made.

    Raises:
        MediaError: not such a file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            if str(data["format"]) != FORMAT:
                raise MediaError(path, f"not a face file of format {FORMAT}")
            resolution = int(data["resolution"])
            blobs = np.split(data["blobs"], data["ends"][:-1])
            pictures = [picture for blob in blobs if (picture := decode(blob)) is not None]
            if len(pictures) != len(data["names"]):
                raise MediaError(path, f"{len(data['names']) - len(pictures)} of its pictures are damaged")
            landmarks = data["landmarks"].astype(np.float32).reshape(len(pictures), 68, 2)
            return Faces(np.stack(pictures), landmarks, data["names"], resolution)
    except (OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise MediaError(path, "not a face file; make one by pointing train at a folder of photographs") from error


def yaw_and_mouth(landmarks: Float32) -> tuple[Float32, Float32]:
    """Rough head yaw [N] (nose tip off the middle of the jaw, in half jaw widths) and mouth opening [N] (inner
    lips' height over their width) from landmarks [N, 68, 2].
    """
    left, right, nose = landmarks[:, 1, 0], landmarks[:, 15, 0], landmarks[:, 30, 0]
    yaw = (2 * nose - left - right) / np.maximum(right - left, 1e-3)
    height = np.linalg.norm(landmarks[:, 66] - landmarks[:, 62], axis=-1)
    width = np.linalg.norm(landmarks[:, 64] - landmarks[:, 60], axis=-1)
    return yaw.astype(np.float32), (height / np.maximum(width, 1e-3)).astype(np.float32)


def sampling_weights(faces: Faces, oversampling: float = 3.0) -> NDArray[np.float64]:
    """[N] chance of each face in a batch: held-out people never, turned heads and open mouths `oversampling` times."""
    yaw, mouth = yaw_and_mouth(faces.landmarks)
    weights = np.where((np.abs(yaw) > np.quantile(np.abs(yaw), 0.85)) | (mouth > 0.3), oversampling, 1.0)
    weights[faces.held_out] = 0.0
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def jittered(
    pictures: torch.Tensor, resolution: int, generator: torch.Generator | None, mirror: bool = True
) -> torch.Tensor:
    """Crops [N, 3, R, R] float32 in [-1, 1] from stored ones [N, S, S, 3] uint8: jittered by ±2 % shift and scale
    and ±3° roll, half of them mirrored; with no `generator`, exactly aligned.
    """
    if generator is not None:
        return crops_at(pictures, resolution, draw_alignment(len(pictures), generator, mirror).to(pictures.device))
    side = pictures.shape[1]
    stored = round(side / MARGIN)
    edge = (side - stored) // 2
    exact = _normal(pictures[:, edge : edge + stored, edge : edge + stored])
    return exact if stored == resolution else functional.interpolate(exact, size=resolution, mode="area")


def draw_alignment(count: int, generator: torch.Generator, mirror: bool = True) -> torch.Tensor:
    """Random alignments [N, 2, 3] on the generator's device: a crop's coordinates in [-1, 1] to the stored crop's."""
    draw = torch.rand(count, 5, generator=generator, device=generator.device)
    dx, dy, scale, roll = ((draw[:, i] * 2 - 1) * size for i, size in enumerate((0.04, 0.04, 0.02, 0.0524)))
    scale = (1 + scale) / MARGIN
    flip = torch.where(draw[:, 4] < 0.5, -1.0, 1.0) if mirror else torch.ones_like(scale)
    cos, sin = torch.cos(roll) * scale, torch.sin(roll) * scale
    return torch.stack([cos * flip, -sin, dx, sin * flip, cos, dy], 1).view(count, 2, 3)


def crops_at(
    pictures: torch.Tensor, resolution: int, alignment: torch.Tensor, sample: Sample = sampled_at
) -> torch.Tensor:
    """Crops [N, 3, R, R] float32 in [-1, 1] at alignments [N, 2, 3] of stored ones [N, S, S, 3] uint8; `sample` may
    look elsewhere than at the places it is given.
    """
    count, side = pictures.shape[:2]
    factor = max(1, round(side / MARGIN) // resolution)  # sampled finer than needed, so that jitter does not blur
    grid = functional.affine_grid(alignment, [count, 3, resolution * factor, resolution * factor], align_corners=False)
    sampled = sample(_normal(pictures), grid)
    return functional.avg_pool2d(sampled, factor) if factor > 1 else sampled


def _normal(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
