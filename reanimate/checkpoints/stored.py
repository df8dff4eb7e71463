"""Tensors and bytes that stay in their file until somebody wants them, and what one file may ask for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

from reanimate.checkpoints.data import StoredTensor
from reanimate.errors import ModelError

MAX_STEPS = 1 << 17  # opcodes; a StyleGAN2 of 1024 px with its discriminator has 60,000
MAX_HELD = 16 << 20  # bytes of text; all the source text in a published pickle is under 1 MiB
MAX_TENSOR = 256 << 20  # bytes; the largest of a published face generator are under 40 MiB
MAX_READ = 512 << 20  # bytes; the largest generator that is published, GAN_stability's of ImageNet, has 385 MiB
MAX_RANK = 8
MAX_LINE = 256  # bytes of a global's module or name
SPARE_CLAIMS = 1 << 20  # bytes
_IMPOSSIBLE = "has a tensor with an impossible shape, stride or offset"


class Source:
    """A file while it is being opened, and what it may still ask for."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path.absolute(), file
        self.size = os.fstat(file.fileno()).st_size
        self.stamp = _stamp(file)
        self._steps, self._held = MAX_STEPS, MAX_HELD
        self._claims = 2 * self.size + SPARE_CLAIMS  # weights have two names in some checkpoints, but not twenty
        self._unread = MAX_READ

    def step(self) -> None:
        """Count one opcode."""
        self._steps -= 1
        if self._steps < 0:
            raise ValueError(f"has more than {MAX_STEPS} pickle opcodes, which no checkpoint needs")

    def hold(self, length: int) -> None:
        """Count text that is kept in memory."""
        self._held -= length
        if self._held < 0:
            raise ValueError(f"has more than {MAX_HELD >> 20} MiB of text, which no checkpoint needs")

    def claim(self, length: int) -> None:
        """Count the bytes of a tensor, which many names may share."""
        self._claims -= length
        if self._claims < 0:
            raise ValueError("has tensors that are together more than twice as large as the file")

    def fetch(self, length: int) -> None:
        """Count bytes that are read after the file was opened."""
        self._unread -= length
        if self._unread < 0:
            raise ModelError(
                self.path, f"its generator has more than {MAX_READ >> 20} MiB of weights; none that is known has"
            )


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file."""

    source: Source
    start: int
    length: int

    def read(self, start: int, length: int) -> torch.Tensor:
        """[length] fresh bytes, from `start` on.

        Raises:
            ModelError: the file is gone or is no longer the one that was opened.
        """
        self.source.fetch(length)
        data = torch.empty(length, dtype=torch.uint8)
        try:
            with self.source.path.open("rb") as file:
                same = _stamp(file) == self.source.stamp
                file.seek(self.start + start)
                complete = file.readinto(data.numpy().data) == length
        except OSError as error:
            raise ModelError(self.source.path, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
        if not (same and complete):
            raise ModelError(self.source.path, "has been changed since it was opened; open it again")
        return data


class Stream:
    """The bytes of a span, one after the other, while the file is being opened."""

    def __init__(self, span: Span) -> None:
        self.source = span.source
        self._end, self._left = span.start + span.length, span.length
        self.source.file.seek(span.start)

    def take(self, length: int) -> bytes:
        """The next bytes."""
        self._need(length)
        data = self.source.file.read(length)
        if len(data) != length:
            raise ValueError("became shorter while it was read; fetch it again")
        return data

    def skip(self, length: int) -> Span:
        """The place of the next bytes."""
        self._need(length)
        at = self._end - self._left - length
        self.source.file.seek(at + length)
        return Span(self.source, at, length)

    def line(self) -> bytes:
        """The next line without its end."""
        line = self.source.file.readline(min(MAX_LINE, self._left))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("is damaged: a name in its pickle has no end")
        return line[:-1]

    def _need(self, length: int) -> None:
        if length > self._left:
            raise ValueError(
                f"is cut off or damaged: it claims {length} bytes where {self._left} are left; fetch it again"
            )
        self._left -= length


@dataclass(slots=True, eq=False)
class Storage:
    """Numbers in a row, which tensors are views of."""

    dtype: torch.dtype
    numel: int
    data: Span | bytes | None
    """None until it is known where they are."""

    def read(self, start: int, numel: int) -> torch.Tensor:
        """The bytes of `numel` numbers from number `start` on."""
        start, length = start * self.dtype.itemsize, numel * self.dtype.itemsize
        if isinstance(self.data, Span):
            return self.data.read(start, length)
        return torch.frombuffer(bytearray((self.data or b"")[start : start + length]), dtype=torch.uint8)


def counts(values: tuple[object, ...]) -> tuple[int, ...]:
    """The values, if they can be a tensor's sizes or strides.

    Raises:
        ValueError: they are too many, too large, negative or no integers.
    """
    found = tuple(value for value in values[: MAX_RANK + 1] if type(value) is int and 0 <= value < 1 << 62)
    if len(found) != len(values) or len(found) > MAX_RANK:
        raise ValueError(_IMPOSSIBLE)
    return found


def view(
    source: Source,
    storage: Storage,
    offset: int,
    shape: tuple[object, ...],
    strides: tuple[object, ...],
    *,
    swapped: bool = False,
) -> StoredTensor:
    """The tensor of `shape` at `offset` in a storage; its offset and strides count numbers, as in torch.

    Raises:
        ValueError: it does not lie within the storage, or is larger than any weight.
    """
    sizes, steps = counts(shape), counts(strides)
    if len(sizes) != len(steps) or offset < 0:
        raise ValueError(_IMPOSSIBLE)
    numel = prod(sizes)
    end = offset + 1 + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True)) if numel else offset
    if max(numel, end) > storage.numel:
        raise ValueError("has a tensor that does not lie within its storage; the file is damaged")
    length = max(prod(size or 1 for size in sizes), end - offset) * storage.dtype.itemsize
    if length > MAX_TENSOR:
        raise ValueError(f"has a tensor of more than {MAX_TENSOR >> 20} MiB, which no generator needs")
    source.claim(length)
    return StoredTensor(sizes, storage.dtype, partial(_read, storage, offset, end, sizes, steps, swapped))


def _read(
    storage: Storage, start: int, end: int, sizes: tuple[int, ...], steps: tuple[int, ...], swapped: bool
) -> torch.Tensor:
    if start == end:
        return torch.empty(sizes, dtype=storage.dtype)
    raw = storage.read(start, end - start)
    if swapped:
        raw = raw.view(-1, storage.dtype.itemsize).flip(1).flatten()
    numbers = raw != 0 if storage.dtype is torch.bool else raw.view(storage.dtype)  # other bytes are no bool to torch
    return numbers.as_strided(sizes, steps).contiguous()


def _stamp(file: BinaryIO) -> tuple[int, int, int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
