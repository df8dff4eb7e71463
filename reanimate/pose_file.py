"""pose.npz: a performance to keep, send and apply. Arrays and JSON text only; plain numpy reads it.

    deltas    float32 [T, L, D], offsets from the clip's mean latent, unit RMS over the clip
    header    JSON text: format, version, scale (W+ units), frame_rate ("30000/1001"), model (digest), normalisation

The mean itself, which is who was filmed, is not in the file.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

from reanimate.errors import MediaError, ModelError
from reanimate.types import PoseDeltas

FORMAT, VERSION = "reanimate-pose", 1
MAX_BYTES = 1 << 32  # of deltas: an hour at 60 frames per second is 4.4e9 numbers in the largest official model
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
            np.savez_compressed(file, deltas=deltas.deltas, header=np.array(json.dumps(header)))
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
            for name in ("deltas.npy", "header.npy"):
                _check_claim(archive, name)
        with np.load(path, allow_pickle=False) as data:
            header, deltas = json.loads(str(data["header"])), np.asarray(data["deltas"], np.float32)
        if header["format"] != FORMAT or header["version"] != VERSION:
            raise MediaError(path, f"is {header['format']} {header['version']}, not {FORMAT} {VERSION}")
        if deltas.ndim != 3 or len(deltas) < 1 or not np.isfinite(deltas).all():
            raise ValueError("deltas are not finite [T, L, D]")
        rate = Fraction(*(int(part) for part in str(header["frame_rate"]).split("/")))
        scale = float(header["scale"])
        if not (0 < rate < 1000 and 0 <= scale < 1e6):
            raise ValueError("scale or rate out of range")
        return PoseDeltas(deltas, scale, rate, str(header["model"]), str(header["normalisation"]))
    except FileNotFoundError as error:
        raise MediaError(path, "no such file") from error
    except OSError as error:
        raise MediaError(path, (error.strerror or str(error)).lower()) from error
    except (ValueError, KeyError, TypeError, ArithmeticError, *_DAMAGED) as error:
        raise MediaError(path, "not a pose file; make one with: reanimate pose export") from error


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
