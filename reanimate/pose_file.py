"""pose.npz: a performance to keep, send and apply. Arrays and JSON text only; plain numpy reads it.

    deltas      float32 [T, L, D], offsets from the clip's mean latent, unit RMS over the clip
    attributes  float32 [T, A], yaw and pitch in degrees, opening of mouth and eyes, width of the mouth; NaN where no
                face was seen
    head        float32 [T, 4], what alignment took away: roll (radians), log of the size, shift right and down in
                halves of a crop's side
    moves       float32 [T, A], what anybody is to show: yaw and pitch in degrees from the middle of the shot, the gap
                between the lips, eyes from 0, shut, to 1, and the width of the mouth from its mean over the shot
    cuts        bool [T], whether a shot begins
    header      JSON text: format, version, scale (W+ units), frame_rate ("30000/1001"), model (digest), normalisation

A file with deltas and header alone is read too. The mean itself, which is who was filmed, is not in the file.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from reanimate.errors import MediaError, ModelError
from reanimate.types import ATTRIBUTES, Bool, Float32, PoseDeltas

FORMAT, VERSION = "reanimate-pose", 3
MAX_BYTES = 1 << 32  # of deltas: an hour at 60 frames per second is 4.4e9 numbers in the largest official model
ARRAYS = ("deltas", "attributes", "head", "moves")
MAX_HEAD = 100.0  # radians, or halves of a crop's side: anything more is no head
# what zipfile raises over a damaged archive; RuntimeError for one that says it is encrypted
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError)


def save_pose(path: Path, deltas: PoseDeltas) -> None:
    """Write pose.npz.

    Raises:
        MediaError: `path` cannot be written.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "scale": deltas.scale,
        "frame_rate": f"{deltas.frame_rate.numerator}/{deltas.frame_rate.denominator}",
        "model": deltas.model,
        "normalisation": deltas.normalisation,
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **_arrays(deltas), header=np.array(json.dumps(header)), allow_pickle=False)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error


def load_pose(path: Path) -> PoseDeltas:
    """What `save_pose` wrote.

    Raises:
        MediaError: missing, not such a file, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise MediaError(path, f"claims more than {MAX_BYTES} bytes")
            for name in archive.namelist():
                _check_claim(archive, name)
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(str(data["header"]))
            _check_version(path, header)
            found = {name: np.asarray(data[name], np.float32) for name in ARRAYS if name in data.files}
            cuts = data["cuts"] if "cuts" in data.files else None
        deltas, attributes, head = found["deltas"], found.get("attributes"), found.get("head")
        if deltas.ndim != 3 or len(deltas) < 1 or not np.isfinite(deltas).all():
            raise ValueError("deltas are not finite [T, L, D]")
        if attributes is not None and attributes.shape != (len(deltas), len(ATTRIBUTES)):
            raise ValueError("attributes are not of these frames")
        if head is not None and not (head.shape == (len(deltas), 4) and (np.abs(head) <= MAX_HEAD).all()):
            raise ValueError("head is not of these frames, or out of range")
        moves = found.get("moves")
        if moves is not None and not (moves.shape == (len(deltas), len(ATTRIBUTES)) and np.isfinite(moves).all()):
            raise ValueError("moves are not of these frames, or not finite")
        if cuts is not None and (cuts.dtype != np.bool_ or cuts.shape != (len(deltas),)):
            raise ValueError("cuts are not of these frames")
        rate = Fraction(*(int(part) for part in str(header["frame_rate"]).split("/")))
        scale = float(header["scale"])
        if not (0 < rate < 1000 and 0 <= scale < 1e6):
            raise ValueError("scale or rate out of range")
        normalisation = str(header["normalisation"])
        return PoseDeltas(deltas, scale, rate, str(header["model"]), normalisation, attributes, head, moves, cuts)
    except FileNotFoundError as error:
        raise MediaError(path, "no such file") from error
    except OSError as error:
        raise MediaError(path, (error.strerror or str(error)).lower()) from error
    except (ValueError, KeyError, TypeError, ArithmeticError, *_DAMAGED) as error:
        raise MediaError(path, "not a pose file; make one with: reanimate pose export") from error


def _arrays(deltas: PoseDeltas) -> dict[str, Float32 | Bool]:
    return {name: values for name in (*ARRAYS, "cuts") if (values := getattr(deltas, name)) is not None}


def _check_version(path: Path, header: Mapping[str, object]) -> None:
    if (header["format"], header["version"]) != (FORMAT, VERSION):
        found = f"{header['format']} {header['version']}"
        raise MediaError(path, f"is {found}, not {FORMAT} {VERSION}; make it again with: reanimate pose export")


def check_model(path: Path, deltas: PoseDeltas, digest: str) -> None:
    """Return quietly if the pose lives in the model of this digest.

    Raises:
        ModelError: it was made with another one.
    """
    if deltas.model != digest:
        raise ModelError(digest[:12], f"{path} was made with model {deltas.model[:12] or 'unknown'}; export it again")


def _check_claim(archive: zipfile.ZipFile, name: str) -> None:
    """A header may claim a larger array than the archive holds, and numpy would allocate it before it looks."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if int(np.prod([float(n) for n in shape])) * dtype.itemsize > archive.getinfo(name).file_size:
        raise ValueError("claims more than it holds")
