"""The pickle machine: what it builds, and what it refuses."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reanimate.checkpoints import settle, stored
from reanimate.checkpoints.data import StoredTensor
from reanimate.checkpoints.pickles import plain
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ModelError

Load = Callable[[bytes], object]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def read(data: bytes) -> object:
        path = tmp_path / "file.pkl"
        path.write_bytes(data)
        return read_checkpoint(path)

    return read


def refused(load: Load, data: bytes) -> str:
    with pytest.raises(ModelError) as found:
        load(data)
    message = str(found.value)
    assert "\n" not in message
    return message.split("file.pkl: ", 1)[1]


def program(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


DATA = [
    None,
    [True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31, -(2**31), 2**63, -(2**63), 2**80],
    [0.0, -1.5, 1e300, float("inf")],
    ["", "a", "ü✓😀", "x" * 300, "long " * 20_000],
    [b"a", bytes(range(64))],
    (),
    (1,),
    (1, 2),
    (1, 2, 3),
    (1, (2, (3, [4, {"a": 5}])), 6, 7),
    {"a": 1, 2: "b", "c": {}, "d": []},
    {"set": {"a", "b", 3}, "empty": set(), "frozen": frozenset({"c"}), "none": frozenset()},
    OrderedDict(a=1, b=OrderedDict(c=2)),
]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", DATA, ids=lambda value: repr(value)[:20])
def test_plain_data_come_as_pickle_wrote_them(load: Load, value: Any, protocol: int) -> None:
    found = load(pickle.dumps(value, protocol))
    assert found == value
    if isinstance(value, dict):
        assert type(found) is dict
        assert list(found) == list(value)


def test_what_is_shared_stays_shared(load: Load) -> None:
    inner: list[int] = [1]
    found: Any = load(pickle.dumps([inner, inner, {"a": inner}]))
    assert found[0] is found[1] is found[2]["a"]


def test_attributes_of_an_ordered_dictionary_are_left_out(load: Load) -> None:
    value = OrderedDict(a=1)
    value._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # as state_dict does
    assert load(pickle.dumps(value, 2)) == {"a": 1}


def test_long_byte_string_stays_in_the_file(load: Load) -> None:
    data = bytes(range(256)) * 20
    (found,) = load(pickle.dumps([data]))  # type: ignore[misc]
    assert isinstance(found, StoredTensor)
    assert bytes(found.read().numpy()) == data


@pytest.mark.parametrize("protocol", [2, 4])
def test_unknown_global_is_named_and_not_imported(load: Load, protocol: int) -> None:
    name = b"cturtle\nTurtle\n" if protocol == 2 else b"\x8c\x06turtle\x8c\x06Turtle\x93"
    assert refused(load, program(name + b")R")) == "asks for turtle.Turtle, which no checkpoint needs; nothing was run"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("collections", "OrderedDict.fromkeys"),
        ("argparse", "_os.system"),
        ("numpy", "dtype.__class__"),
        ("network", "Network.run"),
        ("evil", "Network"),
        ("torch", "load"),
        ("torch", "FloatTensor"),
        ("", ""),
    ],
)
def test_names_beside_the_known_ones_are_refused(load: Load, module: str, name: str) -> None:
    named = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in (module, name))
    assert refused(load, program(named + b"\x93")).startswith(f"asks for {module}.{name},")


def test_text_of_a_file_cannot_reach_the_terminal_raw() -> None:
    assert plain("os\x1b[2J\nü") == "os\\x1b[2J\\n\\xfc"
    assert len(plain("\0" * 1000)) < 400


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"(S'x'\nios\nsystem\n", "STRING"),
        (b"(I1\n", "INT"),
        (b"(ios\nsystem\n", "INST"),
        (b"(ccollections\nOrderedDict\no", "OBJ"),
        (b"ccollections\nOrderedDict\n)}\x92", "NEWOBJ_EX"),
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\0", "EXT2"),
        (b"\x84\x01\0\0\0", "EXT4"),
        (b"P0\n", "PERSID"),
        (b"N2", "DUP"),
        (b"N0", "POP"),
        (b"N(1", "POP_MARK"),
        (b"\x97", "NEXT_BUFFER"),
    ],
)
def test_opcodes_that_no_checkpoint_needs_are_named_and_refused(load: Load, body: bytes, name: str) -> None:
    message = refused(load, program(body))
    assert name in message
    assert message.endswith("which no checkpoint needs; nothing was run")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "byte ff in its pickle means nothing"),
        (b"", "uses more than it made"),
        (b"(", "uses more than it made"),
        (b"t", "uses more than it made"),
        (b"N\x86", "uses more than it made"),
        (b"N(\x85", "uses more than it made"),
        (b"q\0", "uses more than it made"),
        (b"h\x07", "refers to what it has not made"),
        (b"j\xff\xff\xff\xff", "refers to what it has not made"),
        (b"NNa", "appends to what is no list"),
        (b")(NNe", "appends to what is no list"),
        (b"]K\1K\2s", "fills what is no dictionary"),
        (b"}(K\1u", "fills what is no dictionary"),
        (b"](K\1\x90", "fills what is no set"),
        (b"})N\x86s", "uses more than it made"),
        (b"})Ns", "something other than texts and integers"),
        (b"}K\1\x85Ns", "something other than texts and integers"),
        (b"\x8f(G" + bytes(8) + b"\x90", "something other than texts and integers"),
        (b"(N\x91", "something other than texts and integers"),
        (b"}\x8a\x09" + bytes(7) + b"\x80\0" + b"Ns", "something other than texts and integers"),
        (b"N)R", "wants to call what is no function"),
        (b"ccollections\nOrderedDict\nNR", "wants to call collections.OrderedDict"),
        (b"ctorch\nFloatStorage\n)R", "wants to call torch.FloatStorage"),
        (b"cnumpy\nndarray\n)\x81", "wants to call numpy.ndarray"),
        (b"cnumpy\nndarray\n}b", "sets the state of what has none"),
        (b"]}b", "sets the state of what has none"),
        (b"cnumpy\nndarray\n", "holds something that is no data"),
        (b"NQ", "refers to a storage where none can be"),
        (b"NN\x93", "a name that is no text"),
        (b"ccollections", "a name in its pickle has no end"),
        (b"c" + b"x" * 300 + b"\nx\n", "a name in its pickle has no end"),
        (b"X\1\0\0\0\xff", "not UTF-8"),
        (b"\x80\x07N", "protocol 7"),
        (b"\x8a\x11" + bytes(17), "an integer of 17 bytes"),
        (b"\x8b\xff\xff\xff\x7f", "an integer of 2147483647 bytes"),
        (b"\x8b\xff\xff\xff\xff", "an integer of -1 bytes"),
        (b"\x8e" + b"\xff" * 8, "cut off or damaged: it claims 18446744073709551615 bytes"),
        (b"\x96" + b"\xff" * 7 + b"\0", "cut off or damaged: it claims"),
        (b"B\xff\xff\xff\xff", "cut off or damaged: it claims 4294967295 bytes where 1 are left"),
        (b"X\xff\0\0\0", "cut off or damaged: it claims 255 bytes where 1 are left"),
        (b"\x8d" + b"\xff" * 8, "MiB of text"),
        (b"X\xff\xff\xff\xff", "MiB of text"),
        (b"]h\0", "not made"),
        (b"]\x94h\0a", "contains itself"),
        (b"}\x94K\1h\0s", "contains itself"),
        (b"]\x94h\0\x85a", "contains itself"),
    ],
)
def test_damaged_pickle_is_one_line(load: Load, body: bytes, reason: str) -> None:
    assert reason in refused(load, program(body))


def test_depth_is_bounded_on_every_way_through_what_is_shared(load: Load) -> None:
    def nested(depth: int) -> bytes:
        return b"]" + b"\x85" * (depth - 1)

    assert load(program(nested(settle.MAX_DEPTH)))
    assert "nests its contents" in refused(load, program(nested(settle.MAX_DEPTH + 1)))
    shared = b"(" + nested(40) + b"\x94" + b"h\0" + b"\x85" * 30 + b"t"  # first met near the root, then 30 deep
    assert "nests its contents" in refused(load, program(shared))


def test_what_doubles_with_every_level_is_refused(load: Load) -> None:
    doubling = b"]" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(40))
    assert "values, which no checkpoint needs" in refused(load, program(doubling))


def test_text_counts_wherever_it_occurs(load: Load) -> None:
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"q\0"
    assert load(program(b"(" + text + b"h\0" * 10 + b"t"))
    assert "values, which no checkpoint needs" in refused(load, program(b"(" + text + b"h\0" * 30 + b"t"))


def test_opcodes_are_counted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_STEPS", 10)
    assert load(program(b"N" * 8)) is None
    assert "more than 10 pickle opcodes" in refused(load, program(b"N" * 10))


def test_text_is_counted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_HELD", 10)
    assert load(program(b"\x8c\x05hello" * 2)) == "hello"
    assert "of text" in refused(load, program(b"\x8c\x05hello" * 3))
