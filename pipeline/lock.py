"""One writer per result, among all processes that share a cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from pipeline.disk import disk_errors
from reanimate.errors import StoreError


class BusyError(StoreError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that is the file at `path`; it goes with its owner, however that dies.

    Raises:
        BusyError: another process holds it.
        StoreError: the file cannot be written.
    """
    # the kernel lets go of an flock when its owner dies, so a file that was left behind locks nothing
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is_at(descriptor, path):
                path.unlink()  # while held: whoever waits for this file finds it gone and begins again
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may still have the file open
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
                return descriptor
        except BlockingIOError as error:
            owner = re.match(rb"[0-9]{1,10}\b", os.pread(descriptor, 16, 0))
            who = f" (pid {owner[0].decode()})" if owner else ""
            os.close(descriptor)
            raise BusyError(
                path, f"another reanimate{who} is working on this; wait for it or pass --cache-dir"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed it in between: what was locked is no longer the lock


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)
