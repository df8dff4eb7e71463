"""Good files with something changed in them: data come back, or one line, and nothing else happens."""

from __future__ import annotations

import encodings.cp437  # for zipfile  # noqa: F401
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import FORMS, EasyDict, module, official_pickle, torch_file
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reanimate.checkpoints.data import Module, Network, StoredTensor
from reanimate.checkpoints.official import build, open_official
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ModelError

MAX_SECONDS = 5  # of a processor that others use too; a case takes some milliseconds
NUMBERS = torch.arange(24.0).reshape(4, 6)
SMALL = [
    official_pickle({"G": module("G", {"a": NUMBERS}, {"b": NUMBERS[1]}, gain=np.float64(2)), "o": EasyDict({"a": 1})}),
    official_pickle({"G": module("G", {"a": NUMBERS}, {"b": NUMBERS.half()}, flags={"x"})}, protocol=3),
    official_pickle((Network({"variables": [("a", NUMBERS.numpy()), ("b", np.float32(3))], "part": Network({})}),)),
    torch_file({"a": NUMBERS, "b": NUMBERS.T, "c": torch.ones(3, dtype=torch.bool), "d": [1, "x"]}, zipped=False),
    torch_file({"a": NUMBERS, "b": NUMBERS[:, ::2], "c": torch.ones(3).long(), "d": (1.5, None)}, zipped=True),
]
PIECES = [bytes([code]) for code in (*b"().0125BCGIJKLMNPQRSTUVX]abcdeghijloqrstu}", *range(0x80, 0x99))]
PIECES += [
    b"cos\nsystem\n",
    b"cnumpy\ndtype\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"\x8c\x02os\x8c\x06system\x93",
]
PIECES += [b"X\5\0\0\0touch\x85R", b"K\x7f", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x08\0\0\0\0\0\0\0\x40"]
PIECES += [b"\x8e" + b"\xff" * 8, b"B\0\0\0\x40", b"\0" * 8, b"\xff" * 8, b"PK\3\4", b"PK\1\2", b"PK\5\6"]
PIECES += [b"\x94h\0a", b"\x86\x86\x86", b"}b", b")\x81", b")R", b"\x8f(h\0\x90"]
EDITS: list[Callable[[bytes, int, int], bytes]] = [
    lambda data, at, more: data[:at] + bytes([data[at] ^ (1 + more % 255)]) + data[at + 1 :],
    lambda data, at, more: data[:at] + PIECES[more % len(PIECES)] + data[at:],
    lambda data, at, more: data[:at] + PIECES[more % len(PIECES)] + data[at + len(PIECES[more % len(PIECES)]) :],
    lambda data, at, more: data[:at] + data[more % len(data) :][: 1 + more % 64] + data[at:],
    lambda data, at, more: data[:at] + data[at + 1 + more % 64 :] + b"\0",
    lambda data, at, _: data[: at + 1],
]
"""What is done to a file at a place, with a number that says how."""
NUMBER = st.integers(0, 1 << 20)
CHANGES = st.lists(st.tuples(st.sampled_from(EDITS), NUMBER, NUMBER), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[Callable[[bytes, int, int], bytes], int, int]]) -> bytes:
    for edit, place, more in changes:
        data = edit(data, place % len(data), more)
    return data


def tensors(value: object) -> Iterator[StoredTensor]:
    if isinstance(value, StoredTensor):
        yield value
    elif isinstance(value, Module | Network):
        yield from tensors(value.state)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)
    else:
        assert value is None or isinstance(value, bool | int | float | str | bytes | set | frozenset)


def read(path: Path) -> None:
    for tensor in tensors(read_checkpoint(path)):
        numbers = tensor.read()
        assert (tuple(numbers.shape), numbers.dtype) == (tensor.shape, tensor.dtype)
        assert numbers.is_contiguous()


def network(path: Path) -> None:
    build(open_official(path), path)


def nothing_but_an_error(use: Callable[[Path], None], path: Path, data: bytes) -> None:
    path.write_bytes(data)
    modules, began = set(sys.modules), time.process_time()
    try:
        use(path)
    except ModelError as error:
        assert "\n" not in str(error)
    assert time.process_time() - began < MAX_SECONDS
    assert set(sys.modules) == modules


def fuzz(use: Callable[[Path], None], files: list[bytes], path: Path, examples: int) -> None:
    """The same examples every time."""
    for data in files:  # imports what it needs
        path.write_bytes(data)
        use(path)

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(files), CHANGES)
    def try_one(data: bytes, changes: list[tuple[Callable[[bytes, int, int], bytes], int, int]]) -> None:
        nothing_but_an_error(use, path, changed(data, changes))

    try_one()


def test_changed_file_gives_data_or_one_line(tmp_path: Path) -> None:
    fuzz(read, SMALL, tmp_path / "file", 2_000)


def test_changed_network_is_opened_or_one_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fuzz(network, [make() for make in FORMS.values()], tmp_path / "file", 200)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_changed_file_gives_data_or_one_line_in_many_more_cases(tmp_path: Path) -> None:
    fuzz(read, SMALL, tmp_path / "file", 100_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_changed_network_is_opened_or_one_line_in_many_more_cases(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fuzz(network, [make() for make in FORMS.values()], tmp_path / "file", 10_000)
