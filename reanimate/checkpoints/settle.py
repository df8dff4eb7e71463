"""From what the pickle machine made to the plain data that the rest of the library sees."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from reanimate.checkpoints.data import Module, Network, StoredTensor
from reanimate.checkpoints.stand_ins import Array, Attributes, NumberType
from reanimate.checkpoints.stored import Span, Storage, view

MAX_DEPTH = 64  # containers within containers; official checkpoints have 16
MAX_COST = 1 << 18  # values that a walk meets, what is shared wherever it occurs; official checkpoints have 8,000
TEXT_COST = 64  # characters that count as one more value

_FINAL = frozenset({type(None), bool, int, float, StoredTensor})
_Settled = tuple[object, int, int]
"""A copy, its cost and its depth."""


def settle(value: object) -> object:
    """A copy with nothing but plain data in it, and such that every walk over it ends soon.

    Raises:
        ValueError: it is too deep, too large, contains itself, or is not data.
    """
    return _Settler().settle(value, 0)[0]


class _Settler:
    def __init__(self) -> None:
        self._done: dict[int, _Settled | None] = {}
        """By id of the original; None while its contents are being settled."""

    def settle(self, value: object, level: int) -> _Settled:
        """A value that lies `level` deep."""
        if type(value) in _FINAL:
            return value, 1, 0
        if isinstance(value, str | bytes):
            return value, _cost([value]), 0
        if level > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        if id(value) not in self._done:
            self._done[id(value)] = None
            self._done[id(value)] = self._settle(value, level)
        done = self._done[id(value)]
        if done is None:
            raise ValueError("contains itself, which no checkpoint needs")
        if level + done[2] > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        return done

    def _settle(self, value: object, level: int) -> _Settled:
        if isinstance(value, dict):
            copies, cost, depth = self._settle_all(value.values(), level)
            return dict(zip(value, copies, strict=True)), cost + _cost(value), depth
        if isinstance(value, list):
            return self._settle_all(value, level)
        if isinstance(value, tuple):
            copies, cost, depth = self._settle_all(value, level)
            return tuple(copies), cost, depth
        if isinstance(value, set | frozenset):
            return value, 1 + _cost(value), 1
        if isinstance(value, Module | Attributes):
            state, cost, depth = self.settle(value.state, level + 1)
            return _filled(value, state), cost + 1, depth + 1
        return _single(value), 1, 0

    def _settle_all(self, values: Iterable[object], level: int) -> tuple[list[object], int, int]:
        """Copies, and cost and depth of what holds them."""
        copies, cost, depth = [], 1, 0
        for value in values:
            copy, more, deep = self.settle(value, level + 1)
            copies.append(copy)
            cost += more
            depth = deep if deep > depth else depth
        if cost > MAX_COST:
            raise ValueError(f"holds more than {MAX_COST} values, which no checkpoint needs")
        return copies, cost, depth + 1


_TOO_DEEP = f"nests its contents more than {MAX_DEPTH} deep, which no checkpoint needs"


def _cost(values: Iterable[object]) -> int:
    """Of texts and numbers."""
    return sum(1 + len(value) // TEXT_COST if isinstance(value, str | bytes) else 1 for value in values)


def _filled(value: Module | Attributes, state: object) -> object:
    if not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        raise ValueError("has an object whose attributes have no names; the file is damaged")
    if isinstance(value, Module):
        return Module(value.class_name, state)
    return Network(state) if value.is_network else state


def _single(value: object) -> object:
    if isinstance(value, Array) and value.tensor is not None:
        return value.tensor
    if isinstance(value, NumberType):
        return str(value.dtype).removeprefix("torch.")
    if isinstance(value, Span):
        return view(value.source, Storage(torch.uint8, value.length, value), 0, (value.length,), (1,))
    raise ValueError("holds something that is no data, which no checkpoint needs; nothing was run")
