"""Files that grow as work goes on: frames too many for memory, records that outlive a kill."""

from __future__ import annotations

import math
import os
import re
import struct
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from pipeline.disk import damaged, disk_errors
from reanimate.types import UInt8

_HEADER = 128  # bytes of a npy header, whatever the number of frames, so that it can be patched in place
_MAGIC = b"\x93NUMPY\x01\x00"
_NPY = re.compile(  # as every numpy writes it for plain numbers
    rb"\{'descr': '([<>][fiu][248]|\|[biu]1)', 'fortran_order': False, 'shape': \(([0-9, ]{0,100})\), \} *\n"
)
_LOG_MAGIC = b"reclog1\n"
_LOG_HEADER = struct.Struct("<8sI")  # magic, bytes per record
_CRC = struct.Struct("<I")
SYNC_EVERY = 1.0  # seconds of work that a power cut may cost


class FrameWriter:
    """Frames written one by one into a npy file of uint8 [T, R, R, 3]; T is known when it is closed."""

    def __init__(self, path: Path, num_frames: int | None, resolution: int) -> None:
        """Begin a file; with `num_frames`, closing after any other number of frames is an error.

        Raises:
            StoreError: the disk would not have it.
        """
        self.path, self.num_frames, self.resolution = path, num_frames, resolution
        self.count = 0
        with disk_errors(path):
            self._file = path.open("wb")
            self._file.write(_npy_header((0, resolution, resolution, 3)))

    def write(self, frame: UInt8) -> None:
        """Add one frame [R, R, 3].

        Raises:
            ValueError: another shape or dtype, or one frame too many.
            StoreError: the disk would not have it.
        """
        if frame.dtype != np.uint8 or frame.shape != (self.resolution, self.resolution, 3):
            raise ValueError(f"frame {self.count} is {frame.dtype} {frame.shape}, expected [R, R, 3] uint8")
        if self.count == self.num_frames:
            raise ValueError(f"more than the {self.num_frames} frames that were announced")
        with disk_errors(self.path):
            self._file.write(np.ascontiguousarray(frame).data)
        self.count += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: no frames, or fewer than were announced.
            StoreError: the disk would not have it.
        """
        if self._file.closed:
            return
        with disk_errors(self.path), self._file as file:
            file.seek(0)
            file.write(_npy_header((self.count, self.resolution, self.resolution, 3)))
        if self.count == 0 or self.num_frames not in (None, self.count):
            raise ValueError(f"{self.count} frames were written, {self.num_frames or 'some'} were announced")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        with disk_errors(self.path):
            self._file.close()  # the header still says no frames: nobody takes this file for a whole one


def _npy_header(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    room = _HEADER - len(_MAGIC) - 2
    return _MAGIC + struct.pack("<H", room) + text.ljust(room - 1).encode() + b"\n"


def read_npy_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape a npy file of plain numbers in C order claims; its data follows.

    Read by a strict pattern: numpy's own reader evaluates the header as Python, and says what is wrong in five ways.

    Raises:
        ValueError: anything else.
    """
    start = file.read(len(_MAGIC) + 2)
    if len(start) != len(_MAGIC) + 2 or not start.startswith(_MAGIC):
        raise ValueError("not a npy file")
    found = _NPY.fullmatch(file.read(int.from_bytes(start[-2:], "little")))
    if found is None:
        raise ValueError("not a npy file of plain numbers in C order")
    return np.dtype(found[1].decode()), tuple(int(size) for size in re.findall(rb"[0-9]+", found[2]))


def open_frames(path: Path) -> UInt8:
    """Frames [T, R, R, 3] as a read-only map of the file: only the frames looked at take memory.

    Raises:
        StoreError: the file is missing or damaged, or does not hold frames.
    """
    try:
        with path.open("rb") as file:
            dtype, shape = read_npy_header(file)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise damaged(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    if not square or dtype != np.uint8 or min(shape) < 1:
        raise damaged(path, f"holds {dtype} {shape}, not frames")
    if start + math.prod(shape) != size:
        raise damaged(path, f"{size} bytes, where {shape[0]} frames take {start + math.prod(shape)}")
    with disk_errors(path):
        return np.memmap(path, np.uint8, "r", start, shape)


class RecordLog:
    """Records of one size, added one by one; after a kill, those that were added whole are still there."""

    def __init__(self, path: Path, record_bytes: int) -> None:
        """Open a log, or begin one; a torn last record is dropped, and so is a log of another record size.

        Raises:
            StoreError: the disk would not have it.
        """
        if not 0 < record_bytes < 1 << 32:
            raise ValueError(f"records of {record_bytes} bytes")
        self.path, self.record_bytes = path, record_bytes
        self._count = 0
        self._synced = time.monotonic()
        with disk_errors(path):
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
            self._recover()

    def __len__(self) -> int:
        """How many records there are."""
        return self._count

    def _recover(self) -> None:
        header = _LOG_HEADER.pack(_LOG_MAGIC, self.record_bytes)
        if self._file.read(len(header)) != header:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)
            self._file.flush()
            return
        while self._next() is not None:
            self._count += 1
        self._file.seek(self._end())
        self._file.truncate()

    def _end(self) -> int:
        return _LOG_HEADER.size + self._count * (self.record_bytes + _CRC.size)

    def _next(self, index: int | None = None) -> bytes | None:
        """The record at the file's position, or None if it is torn."""
        block = self._file.read(self.record_bytes + _CRC.size)
        if len(block) < self.record_bytes + _CRC.size:
            return None
        record, crc = block[: self.record_bytes], block[self.record_bytes :]
        return record if crc == _checksum(record, self._count if index is None else index) else None

    def append(self, record: bytes) -> None:
        """Add one record; it survives a kill at once, a power cut after about a second.

        Raises:
            ValueError: a record of another size.
            StoreError: the disk would not have it.
        """
        if len(record) != self.record_bytes:
            raise ValueError(f"a record of {len(record)} bytes in a log of {self.record_bytes}")
        with disk_errors(self.path):
            self._file.write(bytes(record) + _checksum(record, self._count))
            self._file.flush()
            self._count += 1
            if time.monotonic() - self._synced >= SYNC_EVERY:
                self._sync()

    def read_all(self) -> list[bytes]:
        """Every record, in the order they were added.

        Raises:
            StoreError: the disk would not give them.
        """
        with disk_errors(self.path):
            self._file.seek(_LOG_HEADER.size)
            found = [self._next(index) for index in range(self._count)]
            self._file.seek(self._end())
        if None in found:
            raise damaged(self.path, f"record {found.index(None)} changed under this run")
        return [record for record in found if record is not None]

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Have every record on disk when this returns.

        Raises:
            StoreError: the disk would not have them.
        """
        if not self._file.closed:
            with disk_errors(self.path), self._file:
                self._file.flush()
                self._sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def _checksum(record: bytes, index: int) -> bytes:
    # seeded with the place, so that a record which slipped into another's place does not pass
    return _CRC.pack(zlib.crc32(record, index & 0xFFFFFFFF))
