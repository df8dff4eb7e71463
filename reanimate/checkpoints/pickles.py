"""Pickles, read as data: a machine that knows the opcodes and the globals of checkpoints and runs nothing.

A pickle is a program for a small stack machine. This one builds plain data only. A global that the file asks for is
looked up in a list of stand-ins and never imported; every opcode and every name that is not needed is refused; no
size that the file claims is believed before the file is seen to be that long; byte strings of more than a few bytes
are not read at all but remembered as a place in the file.
"""

from __future__ import annotations

import pickletools
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from reanimate.checkpoints.stored import Stream

MAX_SHORT = 64  # bytes of a byte string that is read at once: numbers are that short
MAX_INTEGER = 16  # bytes; torch's magic number has 10, and the time to handle one grows with its square
MAX_KEY = 1 << 63  # of larger integers any number can have the same hash


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """What stands in for a class or a function that a pickle names."""

    name: str
    make: Callable[[tuple[object, ...]], object] | None = None
    """From a call's arguments to inert data; None if it may be named but not called."""
    dtype: torch.dtype | None = None
    """Of the numbers in a storage class of torch."""


class Unfinished(ABC):
    """A stand-in for an object that is given its contents after it was made."""

    @abstractmethod
    def build(self, state: object) -> None:
        """Take the contents in; ValueError if they are none."""


def plain(text: str) -> str:
    """Text of a file as it may stand in a message."""
    return ascii(text[:80])[1:-1] + ("…" if len(text) > 80 else "")


class Machine:
    """Reads one pickle.

    Args:
        stream: Where it begins; left behind its end.
        find: Stand-in of (module, name); raises ValueError for a name that is not needed.
        persistent: What a persistent id stands for.

    Everything that is wrong with the pickle is a ValueError with a short reason.
    """

    def __init__(
        self, stream: Stream, find: Callable[[str, str], Global], persistent: Callable[[object], object]
    ) -> None:
        self._stream, self._find, self._persistent = stream, find, persistent
        self._stack: list[object] = []
        self._marked: list[list[object]] = []
        self._memo: dict[int, object] = {}

    def load(self) -> object:
        """The object: plain data, spans, and stand-ins."""
        while True:
            self._stream.source.step()
            code = self._stream.take(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(_not_needed(code))
            step(self)

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        if not self._stack:
            raise ValueError("is damaged: its pickle uses more than it made")
        return self._stack.pop()

    def _last(self) -> object:
        value = self._pop()
        self._stack.append(value)
        return value

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_to_mark(self) -> list[object]:
        if not self._marked:
            raise ValueError("is damaged: its pickle uses more than it made")
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _number(self, form: str) -> int:
        (value,) = struct.unpack(form, self._stream.take(struct.calcsize(form)))
        return int(value)

    def _float(self) -> None:
        self._push(struct.unpack(">d", self._stream.take(8))[0])

    def _integer(self, form: str) -> None:
        length = self._number(form)
        if not 0 <= length <= MAX_INTEGER:
            raise ValueError(f"has an integer of {length} bytes, which no checkpoint needs")
        self._push(int.from_bytes(self._stream.take(length), "little", signed=True))

    def _text(self, form: str) -> None:
        length = self._number(form)
        self._stream.source.hold(length)
        self._push(_decode(self._stream.take(length)))

    def _bytes(self, form: str) -> None:
        length = self._number(form)
        self._push(self._stream.take(length) if length <= MAX_SHORT else self._stream.skip(length))

    def _tuple(self, length: int) -> None:
        self._push(tuple(reversed([self._pop() for _ in range(length)])))

    def _extend(self, values: Iterable[object]) -> None:
        target = self._last()
        if not isinstance(target, list):
            raise ValueError("is damaged: its pickle appends to what is no list")
        target.extend(values)

    def _set_items(self, values: list[object]) -> None:
        target = self._last()
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("is damaged: its pickle fills what is no dictionary")
        target.update(zip(keys(values[::2]), values[1::2], strict=True))

    def _add_items(self) -> None:
        values, target = self._pop_to_mark(), self._last()
        if not isinstance(target, set):
            raise ValueError("is damaged: its pickle fills what is no set")
        target.update(keys(values))

    def _put(self, key: int) -> None:
        self._memo[key] = self._last()

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise ValueError("is damaged: its pickle refers to what it has not made")
        self._push(self._memo[key])

    def _global(self) -> None:
        self._push(self._find(_decode(self._stream.line()), _decode(self._stream.line())))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("is damaged: its pickle asks for a name that is no text")
        self._push(self._find(module, name))

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not (isinstance(function, Global) and function.make and isinstance(arguments, tuple)):
            what = f"call {function.name}" if isinstance(function, Global) else "call what is no function"
            raise ValueError(f"wants to {what}, which no checkpoint needs; nothing was run")
        self._push(function.make(arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._last()
        if isinstance(target, dict):  # attributes of an OrderedDict: a state_dict's version numbers
            return
        if not isinstance(target, Unfinished):
            raise ValueError("sets the state of what has none, which no checkpoint needs; nothing was run")
        target.build(state)

    def _frame(self) -> None:
        self._number("<Q")  # a hint for readers that fetch a frame at once

    def _protocol(self) -> None:
        if (version := self._number("<B")) > 5:
            raise ValueError(f"is a pickle of protocol {version}, which is not known")


def keys(values: Iterable[object]) -> list[str | int]:
    """The values, if they may be keys: of a tuple within tuples the hash alone can take years.

    Raises:
        ValueError: one is neither a text nor an integer, or is too large.
    """
    found: list[str | int] = []
    for value in values:
        if not (isinstance(value, str) or (isinstance(value, int) and -MAX_KEY <= value < MAX_KEY)):
            raise ValueError("has a dictionary or set by something other than texts and integers")
        found.append(value)
    return found


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError("is damaged: a text in it is not UTF-8") from error


def _not_needed(code: bytes) -> str:
    for known in pickletools.opcodes:
        if known.code == code.decode("latin1"):
            return f"uses the pickle opcode {known.name}, which no checkpoint needs; nothing was run"
    return f"is damaged: byte {code.hex()} in its pickle means nothing"


_STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine._protocol,
    b"\x95": Machine._frame,
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"J": lambda m: m._push(m._number("<i")),
    b"\x8a": lambda m: m._integer("<B"),
    b"\x8b": lambda m: m._integer("<i"),
    b"G": Machine._float,
    b"\x8c": lambda m: m._text("<B"),
    b"X": lambda m: m._text("<I"),
    b"\x8d": lambda m: m._text("<Q"),
    b"C": lambda m: m._bytes("<B"),
    b"B": lambda m: m._bytes("<I"),
    b"\x8e": lambda m: m._bytes("<Q"),
    b"\x96": lambda m: m._bytes("<Q"),
    b"(": Machine._mark,
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._pop_to_mark())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"]": lambda m: m._push([]),
    b"a": lambda m: m._extend([m._pop()]),
    b"e": lambda m: m._extend(m._pop_to_mark()),
    b"}": lambda m: m._push({}),
    b"s": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    b"u": lambda m: m._set_items(m._pop_to_mark()),
    b"\x8f": lambda m: m._push(set()),
    b"\x90": Machine._add_items,
    b"\x91": lambda m: m._push(frozenset(keys(m._pop_to_mark()))),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"h": lambda m: m._get(m._number("<B")),
    b"j": lambda m: m._get(m._number("<I")),
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._call,
    b"\x81": Machine._call,
    b"Q": lambda m: m._push(m._persistent(m._pop())),
    b"b": Machine._build,
}
