"""How bytes get onto the disk that holds the cache, and what is said when they do not."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reanimate.errors import StoreError

MAX_JSON = 4 << 20  # bytes; parsed, it takes some thirty times as much
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CURE = "reanimate cache verify drops what is damaged, and the next run makes it again"


def disk_error(path: Path, error: OSError) -> StoreError:
    """The one line a user needs for an error of the disk that holds the cache."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in FULL_DISK:
        return StoreError(path, "no space left on the disk; free some or pass --cache-dir")
    if error.errno in DENIED:
        return StoreError(path, f"cannot be written ({reason}); change that or pass --cache-dir")
    return StoreError(path, reason)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Inside, an OSError leaves as a StoreError about `path`."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def damaged(path: Path, reason: str) -> StoreError:
    """A StoreError for a file of the cache that does not hold what it should."""
    return StoreError(path, f"{reason}; {_CURE}")


def write_atomic(path: Path, data: bytes) -> None:
    """Write all of a file or nothing of it, on disk when this returns.

    Raises:
        OSError: the disk would not have it.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_json(path: Path, value: object) -> None:
    """Write a value as json; fractions are for the caller to turn into "n/d".

    Raises:
        StoreError: the disk would not have it, or it is too large to be read again.
    """
    data = json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
    if len(data) > MAX_JSON:
        raise StoreError(path, f"{len(data)} bytes of json, where {MAX_JSON} can be read again")
    with disk_errors(path):
        write_atomic(path, data)


def load_json(path: Path) -> Any:
    """What a json file holds.

    Raises:
        StoreError: it is missing, too large, or not json.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise damaged(path, f"larger than the {MAX_JSON} bytes of json that are read")
        return json.loads(data, parse_constant=_no_constant)
    except OSError as error:
        raise damaged(path, (error.strerror or str(error)).lower()) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "not json") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not json")
