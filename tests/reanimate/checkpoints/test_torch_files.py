"""Checkpoints in every container: what is read, when it is read, and files that are none."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import FORMS, official_pickle, torch_file, write_forms
from conftest import SHARED

from reanimate.checkpoints import stored
from reanimate.checkpoints.data import Module, Network, StoredTensor
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ModelError

PARITY = sorted(path for path in (SHARED / "parity").glob("*/*/*") if path.suffix in {".pkl", ".pt"})


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_forms(tmp_path_factory.mktemp("forms"))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path: Path) -> Path:
    """A file of each container, which may be damaged."""
    return Path(shutil.copy(forms[request.param], tmp_path))


def tensors(value: object) -> Iterator[StoredTensor]:
    """All of them, wherever they are."""
    if isinstance(value, StoredTensor):
        yield value
    elif isinstance(value, Module | Network):
        yield from tensors(value.state)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)


def flat(value: object) -> dict[str, tuple[int, ...]]:
    """Shapes by the names that a network of the official code would list."""
    if isinstance(value, Module):
        own: Any = {**value.state["_parameters"], **value.state["_buffers"]}  # type: ignore[dict-item]
        found = {name: tensor.shape for name, tensor in own.items() if tensor is not None}
        for name, inside in value.state["_modules"].items():  # type: ignore[attr-defined]
            found |= {f"{name}.{rest}": shape for rest, shape in flat(inside).items()}
        return found
    if isinstance(value, Network):
        found = {name: getattr(tensor, "shape", ()) for name, tensor in value.state["variables"]}  # type: ignore[attr-defined]
        for inside in value.state.get("components", {}).values():  # type: ignore[attr-defined]
            found |= {f"{inside.state['name']}/{rest}": shape for rest, shape in flat(inside).items()}
        return found
    assert isinstance(value, dict)
    return {name: tensor.shape for name, tensor in value.items()}


@pytest.mark.skipif(not PARITY, reason="the official checkpoints of shared/parity are not here")
@pytest.mark.parametrize("path", PARITY, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_official_checkpoints_hold_the_tensors_that_are_listed(path: Path) -> None:
    data: Any = read_checkpoint(path)
    listed = json.loads((path.parent / "tensors.json").read_text())
    networks = dict(zip(("G", "D", "Gs"), data, strict=True)) if isinstance(data, tuple) else data
    for name, shapes in listed.items():
        assert flat(networks[name]) == {key: tuple(shape) for key, shape in shapes.items()}, name
    assert all(tensor.read().shape == tensor.shape for tensor in tensors(data))


@pytest.mark.skipif(not PARITY, reason="the official checkpoints of shared/parity are not here")
@pytest.mark.parametrize("path", [path for path in PARITY if path.suffix == ".pt"], ids=lambda path: path.parts[-2])
def test_tensors_are_those_that_torch_reads(path: Path) -> None:
    same(read_checkpoint(path), torch.load(path, "cpu", weights_only=path.parts[-2] != "b-train-res64"))


@pytest.mark.parametrize("name", ["mescheder-legacy.pt", "mescheder-zip.pt"])
def test_data_are_those_that_torch_reads(forms: dict[str, Path], name: str) -> None:
    same(read_checkpoint(forms[name]), torch.load(forms[name], weights_only=True))


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(ours.read(), theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            same(ours[name], value)
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    else:
        assert ours == (vars(theirs) if hasattr(theirs, "__dict__") else theirs)


def test_every_container_is_read(form: Path) -> None:
    assert all(torch.isfinite(tensor.read()).all() for tensor in tensors(read_checkpoint(form)))


def test_opening_reads_names_and_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB of numbers in each container: only what lies around them passes through memory."""
    taken = []
    take = stored.Stream.take
    monkeypatch.setattr(stored.Stream, "take", lambda stream, n: taken.append(n) or take(stream, n))
    numbers = torch.zeros(1 << 24)
    files = [torch_file([numbers], zipped=zipped) for zipped in (True, False)]
    files.append(official_pickle((Network({"variables": [("a", numbers.numpy())]}),)))
    files.append(official_pickle({"G": Module("G", {"_parameters": {"a": torch.nn.Parameter(numbers)}})}))
    for data in files:
        assert len(data) > 1 << 26
        (tmp_path / "file").write_bytes(data)
        (tensor,) = tensors(read_checkpoint(tmp_path / "file"))
        assert tensor.shape in {(1 << 24,)}
    assert sum(taken) < 10_000


@pytest.mark.parametrize("change", ["cut", "gone", "other"])
def test_file_that_changes_after_it_was_opened_is_one_line(form: Path, change: str) -> None:
    tensor = next(tensor for tensor in tensors(read_checkpoint(form)) if tensor.shape)
    if change == "cut":
        os.truncate(form, 10)
    elif change == "gone":
        form.unlink()
    else:
        replacement = form.with_suffix(".new")
        replacement.write_bytes(bytes(form.stat().st_size))
        replacement.replace(form)
    with pytest.raises(ModelError, match="no such file" if change == "gone" else "changed since it was opened"):
        tensor.read()


def test_files_cannot_be_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_READ", 100)
    path = tmp_path / "file.pt"
    path.write_bytes(torch_file([torch.zeros(20)], zipped=True))
    (tensor,) = tensors(read_checkpoint(path))
    assert tensor.read().shape == (20,)
    with pytest.raises(ModelError, match="MiB of weights"):
        tensor.read()


def test_relative_path_holds_when_the_working_folder_changes(
    forms: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(forms["pggan.pkl"], tmp_path)
    monkeypatch.chdir(tmp_path)
    found = list(tensors(read_checkpoint(Path("pggan.pkl"))))
    monkeypatch.chdir("/")
    assert found[0].read().shape == found[0].shape


NO_CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"hello\n" * 100, "is neither a pickle nor a file of torch.save"),
    "page": (b"\n <!DOCTYPE html><html>quota exceeded", "is a web page, not a checkpoint: the download failed"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "old pickle": (b"cos\nsystem\n(S'true'\ntR.", "is neither a pickle"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is neither a pickle"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "is neither a pickle"),
    "two bytes": (b"\x80\x04", "cut off or damaged"),
}


@pytest.mark.parametrize("kind", NO_CHECKPOINTS)
def test_file_that_is_no_checkpoint_says_what_it_looks_like(tmp_path: Path, kind: str) -> None:
    data, reason = NO_CHECKPOINTS[kind]
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ModelError, match=reason):
        read_checkpoint(tmp_path / "file")


def test_folder_pipe_and_nothing_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is no file"),
        (tmp_path / "none", "no such file"),
        (tmp_path / ("x" * 300), "file name too long"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(ModelError, match=reason):
            read_checkpoint(path)


def legacy(parts: list[bytes], numbers: bytes = b"") -> bytes:
    return b"".join(b"\x80\x02" + part + b"." for part in parts) + numbers


LONG = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
SYSTEM = b"}X\x0d\0\0\0little_endian\x88s"
IDENTITY = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuK\3NtQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + IDENTITY + b"K\0K\3\x85K\1\x85\x89}tR"
NAMES = b"]X\1\0\0\0ka"
COUNT = struct.pack("<q", 3) + struct.pack("<3f", 1, 2, 3)


def test_what_torch_wrote_of_old_is_five_pickles_and_numbers(tmp_path: Path) -> None:
    """The file that the damaged ones below begin from is a good one."""
    path = tmp_path / "file.pt"
    path.write_bytes(legacy([LONG, b"M\xe9\3", SYSTEM, TENSOR, NAMES], COUNT))
    (tensor,) = tensors(read_checkpoint(path))
    assert tensor.read().tolist() == [1, 2, 3]
    assert torch.load(path, weights_only=True).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("parts", "numbers", "reason"),
    [
        ([LONG, b"M\xe8\3", SYSTEM, TENSOR, NAMES], COUNT, "goes on otherwise"),
        ([LONG, b"]", SYSTEM, TENSOR, NAMES], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", b"N", TENSOR, NAMES], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", b"}", TENSOR, NAMES], COUNT, "another byte order"),
        ([LONG, b"M\xe9\3", SYSTEM[:-2] + b"\x89s", TENSOR, NAMES], COUNT, "another byte order"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, b"N"], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, b"]Na"], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, b"]]a"], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, b"]X\1\0\0\0xa"], COUNT, "goes on otherwise"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, b"]"], COUNT, "lacks the numbers"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, NAMES], b"", "cut off"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, NAMES], COUNT[:-1], "cut off"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, NAMES], struct.pack("<q", -1), "cut off"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR, NAMES], struct.pack("<q", 2) + bytes(8), "another size"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR.replace(b"NtQ", b"]tQ"), NAMES], COUNT, "storage that is not described"),
        ([LONG, b"M\xe9\3", SYSTEM, TENSOR.replace(b"Float", b"Quint"), NAMES], COUNT, "asks for torch.QuintStorage"),
        ([LONG, b"M\xe9\3", SYSTEM, IDENTITY.replace(b"K\3", b"K\2") + b"0" + TENSOR, NAMES], COUNT, "POP"),
        ([LONG, b"M\xe9\3", SYSTEM, IDENTITY.replace(b"K\3", b"K\2") + TENSOR, NAMES], COUNT, "storage that is not"),
        ([LONG, b"M\xe9\3" + IDENTITY, SYSTEM, TENSOR, NAMES], COUNT, "where none can be"),
        ([LONG], b"", "cut off"),
    ],
)
def test_damaged_part_of_what_torch_wrote_of_old_is_one_line(
    tmp_path: Path, parts: list[bytes], numbers: bytes, reason: str
) -> None:
    (tmp_path / "file.pt").write_bytes(legacy(parts, numbers))
    with pytest.raises(ModelError, match=reason):
        read_checkpoint(tmp_path / "file.pt")
