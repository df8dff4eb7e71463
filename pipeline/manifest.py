"""What a finished result says of itself, and whether that is so. Written by us, read as if by a stranger."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.disk import load_json
from pipeline.key import SCHEMA, document_key, file_digest
from reanimate.errors import MediaError, StoreError

MANIFEST = "manifest.json"
_MAX_NOTES, _NOTE_LENGTH = 100, 500
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished result says of itself."""

    files: Mapping[str, tuple[int, str]]
    """{path inside the folder: (bytes, digest)}."""
    notes: tuple[str, ...]
    """What the stage said of its result."""
    seconds: float
    """What the last stretch of work on it took."""


@dataclass(frozen=True, slots=True)
class Found:
    """A complete result."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Damaged:
    """A result that is not what its manifest says."""

    reason: str


def describe(
    folder: Path, sizes: Mapping[str, int], document: Mapping[str, Any], notes: Sequence[str], seconds: float
) -> dict[str, Any]:
    """The manifest, as json holds it, of a folder whose files `walk` found; every file is read for its digest.

    Raises:
        MediaError: a file cannot be read.
    """
    files = {name: {"bytes": sizes[name], "digest": file_digest(folder / name)} for name in sorted(sizes)}
    said = [note[:_NOTE_LENGTH] for note in notes[:_MAX_NOTES]]
    return {"schema": SCHEMA, "document": document, "files": files, "notes": said, "seconds": round(seconds, 3)}


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def walk(folder: Path) -> dict[str, int]:
    """{path inside the folder: bytes} of its files.

    Raises:
        ValueError: not a folder, or a link or a device is in it.
        OSError: the disk would not tell.
    """
    if not is_folder(folder):
        raise ValueError("not a folder")
    sizes, waiting = {}, [""]
    while waiting:
        inner = waiting.pop()
        with os.scandir(folder / inner) as entries:
            for entry in entries:
                name = f"{inner}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    sizes[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise ValueError(f"{name!r:.80} is neither a file nor a folder")
    return sizes


def inspect(folder: Path) -> Found | Damaged:
    """Compare a result's folder with its manifest: names and sizes."""
    try:
        sizes = walk(folder)
        if sizes.pop(MANIFEST, None) is None:
            return Damaged("it has no manifest")
        manifest = _manifest(load_json(folder / MANIFEST), folder.name)
    except StoreError:
        return Damaged("its manifest cannot be read")
    except OSError as error:
        return Damaged(f"it cannot be read ({(error.strerror or str(error)).lower()})")
    except ValueError as error:
        return Damaged(str(error))
    for name in sorted(manifest.files.keys() | sizes.keys()):
        if name not in sizes:
            return Damaged(f"{name!r:.80} is missing")
        if name not in manifest.files:
            return Damaged(f"{name!r:.80} does not belong to it")
        if manifest.files[name][0] != sizes[name]:
            return Damaged(f"{name!r:.80} has {sizes[name]} bytes instead of {manifest.files[name][0]}")
    return Found(folder, manifest)


def _manifest(raw: object, key: str) -> Manifest:
    """Check a manifest; anything unexpected is a ValueError."""
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError("its manifest is of another version")
    document, files, notes, seconds = (raw.get(name) for name in ("document", "files", "notes", "seconds"))
    if not isinstance(document, dict) or not _belongs(document, key):
        raise ValueError("its manifest belongs to another key")
    if not isinstance(files, dict) or not isinstance(notes, list) or len(notes) > _MAX_NOTES:
        raise ValueError("its manifest is not well formed")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not all(isinstance(note, str) for note in notes)
    ):
        raise ValueError("its manifest is not well formed")
    listed = {name: _file(entry) for name, entry in files.items()}
    # notes go to a terminal, where an escape sequence is a command
    said = ["".join(c if c.isprintable() else " " for c in note[:_NOTE_LENGTH]) for note in notes]
    return Manifest(listed, tuple(said), float(min(seconds, 1e12)))


def _belongs(document: Mapping[str, object], key: str) -> bool:
    try:
        return document_key(document) == key
    except (ValueError, TypeError, RecursionError):
        return False


def _file(entry: object) -> tuple[int, str]:
    size, digest = (entry.get("bytes"), entry.get("digest")) if isinstance(entry, dict) else (None, None)
    if type(size) is not int or not 0 <= size < 1 << 63 or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("its manifest is not well formed")
    return size, digest


def compare(folder: Path) -> str:
    """Why a result is damaged, by the digests of its files, or "" if it is not."""
    found = inspect(folder)
    if isinstance(found, Damaged):
        return found.reason
    for name, (_, digest) in found.manifest.files.items():
        try:
            if file_digest(folder / name) != digest:
                return f"{name!r:.80} holds other bytes than were written"
        except MediaError:
            return f"{name!r:.80} cannot be read"
    return ""
