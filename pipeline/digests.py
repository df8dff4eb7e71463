"""What was fetched: the sha256 of each address's file. What was seen first is what is expected ever after."""

from __future__ import annotations

import fcntl
from pathlib import Path

from pipeline.disk import disk_errors, load_json, save_json
from reanimate.errors import StoreError

DIGESTS = "digests.json"  # {address: 64 hex digits}
_CURE = "cannot be read as a table of digests; restore it, or remove it to trust what is fetched next"


def read_digests(folder: Path) -> dict[str, str]:
    """{address: sha256 as 64 hex digits} as noted in a folder; empty if nothing was fetched to it yet.

    Raises:
        StoreError: the table cannot be read, or is none: it is not taken for an empty one.
    """
    path = folder / DIGESTS
    if not path.exists():
        return {}
    try:
        digests = load_json(path)
    except StoreError as error:
        raise StoreError(path, _CURE) from error
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise StoreError(path, _CURE)
    return digests


def record_digest(folder: Path, url: str, digest: str) -> None:
    """Note the sha256 of what an address gave, in place of any other.

    Raises:
        StoreError: the table cannot be read or written.
    """
    path = folder / DIGESTS
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{DIGESTS}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for a moment only: worth waiting for
            save_json(path, read_digests(folder) | {url: digest})
