"""The cache: `<root>/<stage>/<key>/`, complete as soon as it is there under that name.

A result is filled as `<key>.partial`; then every file is fsynced, manifest.json with sizes and digests is written
last, and one rename makes it whole. What is read back is not believed: a link, a file too many, a size or a manifest
that does not fit is damage, and nothing outside the result's own folder is opened or removed for its sake.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.disk import disk_errors, save_json, sync
from pipeline.lock import BusyError, locked
from pipeline.manifest import MANIFEST, Damaged, Found, compare, describe, inspect, is_folder, walk
from pipeline.stage import Node
from reanimate.errors import StoreError

__all__ = ["Artefact", "Damaged", "Found", "Missing", "Store"]

PARTIAL = ".partial"
_ENTRY = re.compile(r"([0-9a-f]{64})(\.partial)?")


@dataclass(frozen=True, slots=True)
class Missing:
    """No result; `partial` if an interrupted run left something of it."""

    partial: bool


@dataclass(frozen=True, slots=True)
class Artefact:
    """One line of `cache list`."""

    stage: str
    key: str
    path: Path
    bytes: int
    mtime: float
    """Seconds since 1970 when it was last used, or worked on."""
    state: Literal["complete", "partial", "damaged"]
    reason: str = ""
    """Why it is damaged."""


class Store:
    """The cache in a folder, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, node: Node) -> Path:
        """Where the node's result is, or will be.

        Raises:
            StoreError: the stage's folder is a link, which could lead anywhere.
        """
        parent = self.root / node.stage.name
        if parent.is_symlink():
            raise StoreError(parent, "is a link; remove it, or pass --cache-dir to keep the cache elsewhere")
        return parent / node.key

    def lookup(self, node: Node) -> Found | Missing | Damaged:
        """Whether the node's result is there, and whole as far as names and sizes tell.

        Raises:
            StoreError: the cache cannot be read.
        """
        folder = self.folder(node)
        with disk_errors(folder):
            if not os.path.lexists(folder):
                return Missing(is_folder(_partial(folder)))
            return inspect(folder)

    def touch(self, node: Node) -> None:
        """Note that the node's result, if there is one, was of use today."""
        with contextlib.suppress(OSError):  # a cache on a read-only disk is still a cache
            os.utime(self.folder(node) / MANIFEST, follow_symlinks=False)

    @contextlib.contextmanager
    def lock(self, node: Node) -> Iterator[None]:
        """Inside, no other process works on the node's result.

        Raises:
            StoreError: another one does, or the cache cannot be written.
        """
        with locked(_lock(self.folder(node))):
            yield

    def open_partial(self, node: Node, keep: bool) -> Path:
        """The folder to fill; with `keep`, it still holds what an interrupted run left. Call it under the lock.

        Raises:
            StoreError: the cache cannot be written.
        """
        folder = _partial(self.folder(node))
        with disk_errors(folder):
            if not (keep and _tidy(folder)):
                _remove(folder)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, node: Node, notes: Sequence[str] = (), seconds: float = 0.0) -> Path:
        """Make the filled folder the node's result, in place of any other. Call it under the lock.

        Raises:
            StoreError: the cache cannot be written, or the stage left something else than files.
        """
        final = self.folder(node)
        partial = _partial(final)
        with disk_errors(partial):
            try:
                sizes = walk(partial)
            except ValueError as error:
                raise StoreError(partial, str(error)) from error
            for name in sizes:
                sync(partial / name)
            for inner in {(partial / name).parent for name in sizes}:
                sync(inner)
            save_json(partial / MANIFEST, describe(partial, sizes, node.document, notes, seconds))
            _remove(final)
            partial.rename(final)
            sync(final.parent)
        return final

    def discard(self, node: Node, *, partial: bool = False) -> None:
        """Remove the node's result, or with `partial` what there is of it. Call it under the lock.

        Raises:
            StoreError: the cache cannot be written.
        """
        folder = self.folder(node)
        with disk_errors(folder):
            _remove(_partial(folder) if partial else folder)

    def list_artefacts(self) -> list[Artefact]:
        """Everything in the cache, by stage and key.

        Raises:
            StoreError: the cache cannot be read.
        """
        found = []
        with disk_errors(self.root):
            stages = sorted(self.root.iterdir()) if self.root.is_dir() else []
            for stage in stages:
                entries = sorted(stage.iterdir()) if is_folder(stage) else []
                found += [_artefact(entry) for entry in entries if _ENTRY.fullmatch(entry.name)]
        return [artefact for artefact in found if artefact is not None]

    def verify(self) -> Iterator[Artefact]:
        """Every artefact in turn, its files read and compared with their digests.

        A result found damaged loses its manifest, so that the next run that needs it makes it again.

        Raises:
            StoreError: the cache cannot be read.
        """
        for artefact in self.list_artefacts():
            reason = compare(artefact.path) if artefact.state == "complete" else ""
            if reason:
                with contextlib.suppress(OSError):  # on a read-only disk, saying so must do
                    (artefact.path / MANIFEST).unlink()
            yield replace(artefact, state="damaged", reason=reason) if reason else artefact

    def clean(
        self,
        *,
        partial: bool = False,
        damaged: bool = False,
        everything: bool = False,
        unused_days: float | None = None,
    ) -> list[Artefact]:
        """Remove what any of the options names, and return it; what a process is working on stays.

        Raises:
            StoreError: the cache cannot be read or written.
        """
        states = {"partial": partial, "damaged": damaged}
        oldest = -1.0 if unused_days is None else time.time() - unused_days * 86400
        removed = []
        for artefact in self.list_artefacts():
            if not (everything or states.get(artefact.state) or artefact.mtime < oldest):
                continue
            path = artefact.path
            with contextlib.suppress(BusyError), locked(_lock(path.with_name(artefact.key))), disk_errors(path):
                now = _artefact(path)
                if now is not None and now.state == artefact.state:  # not finished or made again meanwhile
                    _remove(path)
                    removed.append(artefact)
        return removed


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + PARTIAL)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _tidy(folder: Path) -> bool:
    """Ready a leftover to be gone on with; False if it cannot be trusted to stay inside its own folder."""
    try:
        names = walk(folder)
    except ValueError:
        return False
    for name in names:
        if name == MANIFEST or name.endswith(".tmp"):
            (folder / name).unlink()
    return True


def _remove(path: Path) -> None:
    if is_folder(path):
        try:
            shutil.rmtree(path)
        except RecursionError as error:
            raise StoreError(path, "folders nested too deep; remove it by hand") from error
    else:
        path.unlink(missing_ok=True)


def _artefact(path: Path) -> Artefact | None:
    """One entry of a stage's folder, or None if it went away meanwhile."""
    partial = path.name.endswith(PARTIAL)
    state: Literal["complete", "partial", "damaged"] = "partial" if partial else "complete"
    reason = ""
    try:
        mtime = path.lstat().st_mtime
        inspected = None if partial else inspect(path)
        if isinstance(inspected, Damaged):
            state, reason = "damaged", inspected.reason
        if isinstance(inspected, Found):
            mtime = (path / MANIFEST).lstat().st_mtime
        size = sum(walk(path).values())
    except FileNotFoundError:
        return None
    except ValueError:
        size = 0
    return Artefact(path.parent.name, path.name.removesuffix(PARTIAL), path, size, mtime, state, reason)
