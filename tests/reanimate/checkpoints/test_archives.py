"""Zip files of torch.save, and zip files that torch.save does not write."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import torch_file

from reanimate.checkpoints import archives
from reanimate.checkpoints.data import StoredTensor
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ModelError

GOOD = torch_file({"a": torch.arange(6.0)}, zipped=True)


def entries() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(contents: dict[str, bytes], **options: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:  # type: ignore[arg-type]
        for name, data in contents.items():
            archive.writestr(name, data)
    return out.getvalue()


def with_entry(change: Callable[[zipfile.ZipInfo], object]) -> bytes:
    """One more entry, made odd."""
    out = io.BytesIO(GOOD)
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "a") as archive:  # of a name that is there
        info = zipfile.ZipInfo("archive/extra")
        change(info)
        archive.writestr(info, b"/etc/passwd")
    return out.getvalue()


def without(name: str) -> dict[str, bytes]:
    return {key: data for key, data in entries().items() if not key.endswith(name)}


def replaced(name: str, data: bytes) -> dict[str, bytes]:
    return {key: data if key.endswith(name) else old for key, old in entries().items()}


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Bytes at `offset` in the first record of that signature, replaced."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


def link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def named(name: str) -> Callable[[zipfile.ZipInfo], object]:
    return lambda info: setattr(info, "filename", name)


CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
PLAIN = written(entries())
BAD: dict[str, tuple[bytes, str]] = {
    "compressed": (written(entries(), compression=zipfile.ZIP_DEFLATED), "is a compressed zip file"),
    "bomb": (written({"a/data.pkl": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED), "is a compressed zip file"),
    "encrypted": (patched(PLAIN, CENTRAL, 8, b"\1\0"), "is an encrypted zip file"),
    "link": (with_entry(link), "is a zip file with a link"),
    "twice": (with_entry(named("archive/data.pkl")), "a name occurs twice"),
    "outside": (with_entry(named("../../etc/passwd")), "is a zip file with ../../etc/passwd in it"),
    "absolute": (with_entry(named("/etc/passwd")), "is a zip file with /etc/passwd in it"),
    "second folder": (with_entry(named("other/data.pkl")), "not one of torch.save"),
    "no folder": (written({"data.pkl": b"\x80\2N."}), "not one of torch.save"),
    "documents": (written({"word/document.xml": b"<x>"}), "not one of torch.save"),
    "nothing in it": (written({}), "not one of torch.save"),
    "no numbers": (written(without("data/0")), "has no data/0 in it"),
    "fewer numbers": (written(replaced("data/0", bytes(20))), "another size"),
    "more numbers": (written(replaced("data/0", bytes(28))), "another size"),
    "byte order": (written(replaced("byteorder", b"big")), "another byte order"),
    "byte order of six letters": (written(replaced("byteorder", b"middle")), "another byte order"),
    "hostile": (written(replaced("data.pkl", b"\x80\2cos\nsystem\n)R.")), "asks for os.system"),
    "cut": (GOOD[:-30], "is cut off or damaged"),
    "cut at the front": (b"PK" + GOOD[300:], "damaged"),
    "head only": (b"PK\3\4" + bytes(100), "is cut off or damaged"),
    "large directory": (patched(PLAIN, END, 12, b"\xff\xff\xff\x7f"), "is cut off or damaged"),
    "directory elsewhere": (patched(PLAIN, END, 16, b"\xff\xff\xff\x7f"), "damaged"),
    "entry elsewhere": (patched(PLAIN, CENTRAL, 42, b"\xff\xff\xff\x7f"), "is not where its directory says"),
    "entry nowhere": (PLAIN.replace(LOCAL, b"PK\3\5"), "is not where its directory says"),
    "entry too long": (
        patched(patched(PLAIN, CENTRAL, 20, b"\xff\xff\xff\x7f"), CENTRAL, 24, b"\xff\xff\xff\x7f"),
        "is not where its directory says",
    ),
    "newer zip": (patched(PLAIN, CENTRAL, 6, b"\xff\0"), "zip file version"),
}


@pytest.mark.parametrize("kind", BAD)
def test_zip_that_torch_does_not_write_is_one_line(tmp_path: Path, kind: str) -> None:
    data, reason = BAD[kind]
    (tmp_path / "file.pt").write_bytes(data)
    with pytest.raises(ModelError, match=reason) as found:
        read_checkpoint(tmp_path / "file.pt")
    assert "\n" not in str(found.value)


def test_zip_as_torch_writes_it_and_written_again_is_read(tmp_path: Path) -> None:
    for data in (GOOD, PLAIN, written(without("byteorder"))):
        (tmp_path / "file.pt").write_bytes(data)
        found = read_checkpoint(tmp_path / "file.pt")
        assert isinstance(found, dict)
        assert isinstance(found["a"], StoredTensor)
        assert torch.equal(found["a"].read(), torch.arange(6.0))


def test_directory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    (tmp_path / "file.pt").write_bytes(GOOD)
    with pytest.raises(ModelError, match="a directory of"):
        read_checkpoint(tmp_path / "file.pt")


def test_offsets_beyond_every_file_are_one_line(tmp_path: Path) -> None:
    """In the extra field of a zip64 entry an offset has 64 bits."""
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 100)
    name = b"archive/data.pkl"
    central = CENTRAL + struct.pack(
        "<HHHHHHIIIHHHHHII", 45, 45, 0, 0, 0, 0, 0, 4, 4, len(name), 12, 0, 0, 0, 0, 2**32 - 1
    )
    directory = central + name + extra
    head = LOCAL + bytes(26)
    end = END + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), len(head), 0)
    (tmp_path / "file.pt").write_bytes(head + directory + end)
    with pytest.raises(ModelError, match="is not where its directory says"):
        read_checkpoint(tmp_path / "file.pt")
