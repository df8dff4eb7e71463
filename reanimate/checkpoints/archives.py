"""The zip files that torch.save writes, as places in the file: nothing is unpacked."""

from __future__ import annotations

import stat
import struct
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from reanimate.checkpoints.pickles import plain
from reanimate.checkpoints.stored import Source, Span, Stream

MAX_DIRECTORY = 1 << 20  # bytes; zipfile makes an object of 1 KiB of every 50, and torch writes some 100 KiB
_LOCAL = struct.Struct("<4s22xHH")
_ENCRYPTED = 1


class Archive:
    """The entries of a zip file of torch.save, all of which lie in one folder.

    Raises:
        ValueError: it is damaged, or holds what torch.save does not write.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            with ZipFile(_Guarded(source.file)) as archive:
                entries = archive.infolist()
        except (BadZipFile, NotImplementedError, struct.error, ValueError, OSError) as error:
            raise ValueError(f"is cut off or damaged, or not from torch.save ({plain(str(error)).lower()})") from error
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError("is a zip file in which a name occurs twice; torch.save writes none such")
        for entry in entries:
            _check(entry)
        folders = {name.split("/")[0] for name in self._entries}
        self._folder = min(folders, default="")
        if len(folders) != 1 or "data.pkl" not in self:
            raise ValueError("is a zip file, but not one of torch.save")

    def __contains__(self, name: str) -> bool:
        return f"{self._folder}/{name}" in self._entries

    def span(self, name: str) -> Span:
        """Where the contents of an entry are."""
        entry = self._entries.get(f"{self._folder}/{name}")
        if entry is None:
            raise ValueError(f"has no {plain(name)} in it; the file is damaged")
        start = entry.header_offset
        if start + _LOCAL.size + entry.file_size <= self._source.size:
            signature, *lengths = _LOCAL.unpack(Stream(Span(self._source, start, _LOCAL.size)).take(_LOCAL.size))
            start += _LOCAL.size + sum(lengths)
            if signature == b"PK\3\4" and start + entry.file_size <= self._source.size:
                return Span(self._source, start, entry.file_size)
        raise ValueError(f"is damaged: {plain(name)} is not where its directory says")


class _Guarded:
    """The file for zipfile, which would read a directory of any size."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, length: int = -1) -> bytes:
        if length > MAX_DIRECTORY:
            raise ValueError(f"a directory of {length} bytes")
        return self._file.read(length)


def _check(entry: ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise ValueError("is an encrypted zip file; torch.save writes none such")
    if entry.compress_type != ZIP_STORED or entry.compress_size != entry.file_size:
        raise ValueError(
            "is a compressed zip file; torch.save writes none such: unpack it, if the checkpoint is inside"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError("is a zip file with a link in it; torch.save writes none such")
    if entry.header_offset < 0:
        raise ValueError("is damaged: its directory is not where it says")
    parts = entry.filename.replace("\\", "/").split("/")
    if ".." in parts or not parts[0]:
        raise ValueError(f"is a zip file with {plain(entry.filename)} in it; torch.save writes none such")
