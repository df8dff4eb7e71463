"""The nouns of `reanimate.types` as files: arrays as npz, facts as json.

Nothing is ever pickled, and nothing read is believed: names, types, shapes, sizes and finiteness are checked against
what the file really holds before memory is taken for it. What does not pass is a StoreError of one line.
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct
import typing
import zipfile
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import convert
from pipeline.disk import damaged, disk_errors, load_json, save_json
from pipeline.streams import FrameWriter, RecordLog, open_frames, read_npy_header
from reanimate.reading import SIZE
from reanimate.types import ATTRIBUTES, FaceTrack, Float32, Identity, Latents, PoseDeltas, Rehearsal, VideoInfo

__all__ = [
    "FrameWriter", "RecordLog", "load_arrays", "load_deltas", "load_identity", "load_json", "load_latents",
    "load_rehearsal", "load_track", "open_frames", "save_arrays", "save_deltas", "save_identity", "save_json",
    "save_latents", "save_rehearsal", "save_track",
]  # fmt: skip

Shape = tuple[int | None, ...]
Array = NDArray[Any]
Like = Mapping[str, tuple[type[np.generic], Shape]]
"""{name: (dtype, shape)}, where None in a shape is any size above zero."""

TRACK: Like = {
    "detected": (np.bool_, (None,)),
    "landmarks": (np.float32, (None, 68, 2)),
    "quads": (np.float32, (None, 4, 2)),
    "cuts": (np.bool_, (None,)),
}
LATENTS: Like = {"ws": (np.float32, (None, None, None)), "loss": (np.float32, (None,))}
DELTAS: Like = {
    "deltas": (np.float32, (None, None, None)),
    "attributes": (np.float32, (None, len(ATTRIBUTES))),
    "head": (np.float32, (None, 4)),
    "moves": (np.float32, (None, len(ATTRIBUTES))),
    "cuts": (np.bool_, (None,)),
}
REHEARSAL: Like = {
    "attribute": (np.int64, (None,)),
    "shown": (np.float32, (None,)),
    "rest": (np.float32, (len(ATTRIBUTES),)),
    "offsets": (np.float32, (None, None, None)),
    "reader": (np.float32, (len(ATTRIBUTES), SIZE)),
}
IDENTITY: Like = {"ws": (np.float32, (None, None)), "attributes": (np.float32, (len(ATTRIBUTES),))}

# what zipfile raises on bytes that are not its own
_BROKEN = (
    OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, OverflowError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_arrays(path: Path, arrays: Mapping[str, Array], expected: Like) -> None:
    """Write named arrays as an uncompressed npz.

    Raises:
        ValueError: an array is not like `expected`, so that it could not be loaded again.
        StoreError: the disk would not have it.
    """
    for name, (dtype, shape) in expected.items():
        _check_like(name, arrays[name].dtype, arrays[name].shape, dtype, shape)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.ascontiguousarray(arrays[name]) for name in expected})
        temporary.replace(path)


def load_arrays(path: Path, expected: Like) -> dict[str, Array]:
    """The arrays of an npz: exactly those of `expected`.

    Raises:
        StoreError: the file is missing or damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
            if names != sorted(f"{name}.npy" for name in expected):
                raise ValueError(f"holds {', '.join(names)[:80]!r} instead of {', '.join(expected)}")
            total = path.stat().st_size
            return {name: _member(archive, name, total, *like) for name, like in expected.items()}
    except _BROKEN as error:
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror.lower()
        else:
            reason = " ".join(str(error).split())[:200] if type(error) is ValueError else "not an npz file"
        raise damaged(path, reason) from error


def _member(archive: zipfile.ZipFile, name: str, total: int, dtype: type[np.generic], shape: Shape) -> Array:
    info = archive.getinfo(f"{name}.npy")
    # stored bytes are really there, whereas a few compressed ones can claim to be gigabytes
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > total:
        raise ValueError(f"{name} is compressed or claims more bytes than there are")
    with archive.open(info) as file:
        kind, found = read_npy_header(file)
        _check_like(name, kind, found, dtype, shape)
        size = math.prod(found) * kind.itemsize
        if size != info.file_size - file.tell():
            raise ValueError(f"{name} has shape {found}, which is not what the file holds")
        data = file.read(size)  # reading to the end also checks the zip's own checksum
    return np.frombuffer(bytearray(data), kind).reshape(found)


def _check_like(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...], wanted: type[np.generic], wanted_shape: Shape
) -> None:
    if dtype != np.dtype(wanted):
        raise ValueError(f"{name} is {dtype}, expected {np.dtype(wanted)}")
    fits = len(shape) == len(wanted_shape) and min(shape) > 0
    if not fits or any(want not in (None, size) for size, want in zip(shape, wanted_shape, strict=True)):
        raise ValueError(f"{name} has shape {shape}, expected {wanted_shape}".replace("None", "any"))


def _facts(path: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a json object, exactly those of `expected` {name: type}."""
    found = load_json(path)
    if not isinstance(found, dict) or set(found) != set(expected):
        raise damaged(path, f"not an object of {', '.join(expected)}")
    facts = {}
    for name, hint in expected.items():
        try:
            facts[name] = convert(found[name], hint)
        except ValueError as error:
            raise damaged(path, f"{name} {error}") from error
    if facts.get("frame_rate", 1) <= 0:
        raise damaged(path, f"a frame rate of {facts['frame_rate']}")
    return facts


def _check(path: Path, sound: bool | np.bool_, reason: str) -> None:
    if not sound:
        raise damaged(path, reason)


def _rate(frame_rate: Fraction) -> str:
    return f"{frame_rate.numerator}/{frame_rate.denominator}"


def save_track(folder: Path, track: FaceTrack, info: VideoInfo) -> None:
    """Write track.npz and video.json.

    Raises:
        StoreError: the disk would not have it.
    """
    save_arrays(folder / "track.npz", {name: getattr(track, name) for name in TRACK}, TRACK)
    save_json(folder / "video.json", dataclasses.asdict(info) | {"frame_rate": _rate(info.frame_rate)})


def load_track(folder: Path) -> tuple[FaceTrack, VideoInfo]:
    """What `save_track` wrote.

    Raises:
        StoreError: a file is missing or damaged.
    """
    path = folder / "track.npz"
    track = FaceTrack(**load_arrays(path, TRACK))
    _check(path, len({len(getattr(track, name)) for name in TRACK}) == 1, "arrays of different lengths")
    _check(path, np.isfinite(track.quads).all(), "quads that are not finite")
    _check(path, np.isfinite(track.landmarks[track.detected]).all(), "landmarks that are not finite")
    facts = _facts(folder / "video.json", typing.get_type_hints(VideoInfo))
    info = VideoInfo(**facts)
    _check(folder / "video.json", min(info.width, info.height, info.num_frames) > 0, "a video without pictures")
    return track, info


def save_latents(folder: Path, latents: Latents) -> None:
    """Write latents.npz and latents.json.

    Raises:
        StoreError: the disk would not have it.
    """
    save_arrays(folder / "latents.npz", {"ws": latents.ws, "loss": latents.loss}, LATENTS)
    save_json(folder / "latents.json", {"frame_rate": _rate(latents.frame_rate)})


def load_latents(folder: Path) -> Latents:
    """What `save_latents` wrote; NaN is allowed in `loss` alone, for frames that were never inverted.

    Raises:
        StoreError: a file is missing or damaged.
    """
    path = folder / "latents.npz"
    arrays = load_arrays(path, LATENTS)
    _check(path, len(arrays["ws"]) == len(arrays["loss"]), "arrays of different lengths")
    _check(path, np.isfinite(arrays["ws"]).all() and not np.isinf(arrays["loss"]).any(), "latents that are not finite")
    facts = _facts(folder / "latents.json", {"frame_rate": Fraction})
    return Latents(arrays["ws"], arrays["loss"], facts["frame_rate"])


def save_deltas(folder: Path, deltas: PoseDeltas) -> None:
    """Write deltas.npz and deltas.json.

    Raises:
        StoreError: the disk would not have it.
    """
    facts = {name: getattr(deltas, name) for name in ("scale", "model", "normalisation")}
    arrays = {
        "deltas": deltas.deltas,
        "attributes": _known(deltas.attributes, (len(deltas.deltas), len(ATTRIBUTES)), np.nan),
        "head": _known(deltas.head, (len(deltas.deltas), 4), 0.0),
        "moves": _known(deltas.moves, (len(deltas.deltas), len(ATTRIBUTES)), np.nan),
        "cuts": deltas.starts,
    }
    save_arrays(folder / "deltas.npz", arrays, DELTAS)
    save_json(folder / "deltas.json", facts | {"scale": float(deltas.scale), "frame_rate": _rate(deltas.frame_rate)})


def load_deltas(folder: Path) -> PoseDeltas:
    """What `save_deltas` wrote.

    Raises:
        StoreError: a file is missing or damaged.
    """
    path = folder / "deltas.npz"
    arrays = load_arrays(path, DELTAS)
    _check(path, len({len(array) for array in arrays.values()}) == 1, "arrays of different lengths")
    _check(path, np.isfinite(arrays["deltas"]).all(), "deltas that are not finite")
    _check(path, np.isfinite(arrays["head"]).all(), "a head that is not finite")
    expected = {"scale": float, "frame_rate": Fraction, "model": str, "normalisation": str}
    facts = _facts(folder / "deltas.json", expected)
    _check(folder / "deltas.json", facts["scale"] >= 0, "a scale below zero")
    moves = arrays["moves"] if np.isfinite(arrays["moves"]).all() else None
    deltas, attributes, head, cuts = (arrays[name] for name in ("deltas", "attributes", "head", "cuts"))
    return PoseDeltas(deltas, attributes=attributes, head=head, moves=moves, cuts=cuts, **facts)


def _known(values: Float32 | None, shape: Shape, instead: float) -> Float32:
    return np.full(shape, instead, np.float32) if values is None else values  # type: ignore[arg-type]


def save_rehearsal(folder: Path, rehearsal: Rehearsal) -> None:
    """Write rehearsal.npz.

    Raises:
        StoreError: the disk would not have it.
    """
    save_arrays(folder / "rehearsal.npz", {name: getattr(rehearsal, name) for name in REHEARSAL}, REHEARSAL)


def load_rehearsal(folder: Path) -> Rehearsal:
    """What `save_rehearsal` wrote.

    Raises:
        StoreError: the file is missing or damaged.
    """
    path = folder / "rehearsal.npz"
    arrays = load_arrays(path, REHEARSAL)
    _check(path, len({len(arrays[name]) for name in ("attribute", "shown", "offsets")}) == 1, "not so many poses")
    _check(path, all(np.isfinite(array).all() for array in arrays.values()), "poses that are not finite")
    return Rehearsal(**arrays)


def save_identity(folder: Path, identity: Identity) -> None:
    """Write identity.npz.

    Raises:
        StoreError: the disk would not have it.
    """
    attributes = _known(identity.attributes, (len(ATTRIBUTES),), np.nan)
    save_arrays(folder / "identity.npz", {"ws": identity.ws, "attributes": attributes}, IDENTITY)


def load_identity(folder: Path) -> Identity:
    """What `save_identity` wrote.

    Raises:
        StoreError: the file is missing or damaged.
    """
    path = folder / "identity.npz"
    arrays = load_arrays(path, IDENTITY)
    _check(path, np.isfinite(arrays["ws"]).all(), "an identity that is not finite")
    return Identity(**arrays)
