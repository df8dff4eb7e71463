"""Checkpoints as data: plain pickles and both forms that torch.save writes, opened without running anything.

`torch.load(weights_only=True)` is not used: it allocates what a file claims, can be kept busy for years with hashing
nested tuples, reads discriminators and optimisers too, and refuses the pickles of NVIDIA and of TensorFlow.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from reanimate.checkpoints.archives import Archive
from reanimate.checkpoints.pickles import Global, Machine
from reanimate.checkpoints.settle import settle
from reanimate.checkpoints.stand_ins import finder
from reanimate.checkpoints.stored import Source, Span, Storage, Stream
from reanimate.errors import ModelError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # with which torch.save began until 1.6
_LOOKS = {
    b"<": "is a web page, not a checkpoint: the download failed; open it in a browser to see why",
    b"version https://git-lfs": "is a git-lfs pointer, not the checkpoint; fetch the file itself with git lfs pull",
}
_BYTE_ORDER = "was written on a machine with another byte order; save it again on a common one"
_NOT_TORCH = "begins as torch.save does but goes on otherwise; the file is damaged"

Find = Callable[[str, str], Global]


def read_checkpoint(path: Path) -> object:
    """What a file holds: plain data, StoredTensor, Module and Network.

    A byte string of more than a few bytes comes as a StoredTensor of uint8.

    Raises:
        ModelError: it is no checkpoint, is damaged, or asks for anything that no checkpoint needs.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise ModelError(path, "is a folder, not a checkpoint" if path.is_dir() else "is no file")
        with path.open("rb") as file:
            return settle(_read(Source(path, file)))
    except OSError as error:
        raise ModelError(path, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    except ValueError as error:
        raise ModelError(path, str(error)) from error


def _read(source: Source) -> object:
    head = source.file.read(64)
    find_within = finder(source, {})
    find = finder(source, {("torch.storage", "_load_from_bytes"): partial(_read_nested, find_within)})
    if head.startswith(b"PK"):
        return _read_archive(source, find)
    if head.startswith(b"\x80"):
        stream = Stream(Span(source, 0, source.size))
        first = Machine(stream, find, _no_storage).load()
        return _read_legacy(stream, find) if _is(first, MAGIC) else first
    looks = (text for start, text in _LOOKS.items() if head.lstrip().startswith(start))
    raise ValueError(next(looks, "is neither a pickle nor a file of torch.save") if head else "is empty")


def _read_nested(find: Find, arguments: tuple[object, ...]) -> object:
    """A stream of torch.save within a pickle: one storage of an NVIDIA checkpoint."""
    match arguments:
        case (Span() as span,):
            outside = span.source.file.tell()
            stream = Stream(span)
            if _is(Machine(stream, find, _no_storage).load(), MAGIC):
                data = _read_legacy(stream, find)
                span.source.file.seek(outside)
                return data
    raise ValueError("has a tensor that torch.save did not write; the file is damaged")


def _read_legacy(stream: Stream, find: Find) -> object:
    """What follows the magic number: protocol, system, data, names of the storages, and the storages."""
    storages: dict[str, Storage] = {}
    protocol = Machine(stream, find, _no_storage).load()
    system = Machine(stream, find, _no_storage).load()
    data = Machine(stream, find, partial(_storage, storages)).load()
    names = Machine(stream, find, _no_storage).load()
    if not (_is(protocol, PROTOCOL) and isinstance(system, dict) and isinstance(names, list)):
        raise ValueError(_NOT_TORCH)
    if system.get("little_endian") is not True:
        raise ValueError(_BYTE_ORDER)
    for name in names:
        if not isinstance(name, str) or name not in storages:
            raise ValueError(_NOT_TORCH)
        numel = int.from_bytes(stream.take(8), "little")
        _fill(storages[name], stream.skip(numel * storages[name].dtype.itemsize))
    if any(storage.data is None for storage in storages.values()):
        raise ValueError("lacks the numbers of some of its tensors; the file is damaged")
    return data


def _read_archive(source: Source, find: Find) -> object:
    archive = Archive(source)
    if "byteorder" in archive:
        order = archive.span("byteorder")
        if Stream(order).take(min(order.length, 6)) != b"little":
            raise ValueError(_BYTE_ORDER)
    storages: dict[str, Storage] = {}
    data = Machine(Stream(archive.span("data.pkl")), find, partial(_storage, storages)).load()
    for name, storage in storages.items():
        _fill(storage, archive.span(f"data/{name}"))
    return data


def _storage(storages: dict[str, Storage], identity: object) -> Storage:
    """The storage that a persistent id means: a new one, or the one of that name."""
    match identity:
        case ("storage", Global(dtype=torch.dtype() as dtype), str(name), _, int(numel), *rest) if rest in ([], [None]):
            storage = storages.setdefault(name, Storage(dtype, numel, None))
            if (storage.dtype, storage.numel) == (dtype, numel):
                return storage
    raise ValueError("has a storage that is not described as torch does")


def _no_storage(_: object) -> Storage:
    raise ValueError("refers to a storage where none can be; the file is damaged")


def _fill(storage: Storage, span: Span) -> None:
    if span.length != storage.numel * storage.dtype.itemsize:
        raise ValueError("has a storage of another size than it says; the file is damaged")
    storage.data = span


def _is(value: object, number: int) -> bool:
    return isinstance(value, int) and value == number
