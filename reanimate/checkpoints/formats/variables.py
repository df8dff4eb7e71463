"""What a TensorFlow network keeps of itself: options that are not at their default, and variables by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch.nn import functional

from reanimate.checkpoints.data import Network, StoredTensor
from reanimate.generators.pggan import SQRT2

Form = Literal["apart", "fused", "turned"]
"""How a doubling convolution is stored: after the doubling, fused with it, or fused with its channels exchanged."""
_T = TypeVar("_T")


class Options:
    """What was not left at its default; where networks disagree, the last one's word."""

    def __init__(self, *networks: Network) -> None:
        self._given: dict[str, object] = {}
        for network in networks:
            given = network.state.get("static_kwargs")
            self._given.update(given if isinstance(given, dict) else {})

    def one_of(self, name: str, choices: Sequence[_T]) -> _T:
        """The choice made; the first is the default."""
        value = self._given.get(name, choices[0])
        for choice in choices:
            if value == choice:
                return choice
        raise ValueError(f"option {name} is {value!r:.40}; known: {', '.join(map(repr, choices))}")

    def number(self, name: str, default: float) -> float:
        """A number from 0 up."""
        value = self._given.get(name, default)
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"option {name} is {value!r:.40}, not a number from 0 up")
        return value

    def taps(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An odd number of whole taps, or none."""
        value = self._given.get(name, default)
        taps = value if isinstance(value, list | tuple) else () if value is None else (value,)
        whole = tuple(int(tap) for tap in taps if isinstance(tap, int | float) and float(tap).is_integer())
        if len(whole) != len(taps):
            raise ValueError(f"option {name} is {value!r:.40}, not a list of whole numbers")
        # TensorFlow pads an even filter by one more behind than before
        return whole if len(whole) % 2 or not whole else (0, *whole)


class Variables:
    """The variables of a network, which are all to be taken; weights get the gain that they have when it runs."""

    def __init__(self, network: Network, *, scaled: bool) -> None:
        stored = network.state.get("variables")
        pairs = stored if isinstance(stored, list) else []
        pairs = [pair for pair in pairs if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)]
        self._stored: dict[str, object] = dict(pairs)
        self._taken: set[str] = set()
        self._scaled = scaled

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The sizes of an array that has as many."""
        value = self._stored.get(name)
        if not isinstance(value, StoredTensor):
            raise ValueError(f"variable {name} is missing")
        if len(value.shape) != dimensions or not all(value.shape):
            raise ValueError(f"variable {name} has shape {list(value.shape)}")
        return value.shape

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """A variable of that shape, as it is stored."""
        value = self._stored.get(name)
        self._taken.add(name)
        if isinstance(value, int | float) and not shape:
            return torch.tensor(float(value))
        if not isinstance(value, StoredTensor):
            raise ValueError(f"variable {name} is missing")
        if value.shape != shape:
            raise ValueError(f"variable {name} has shape {list(value.shape)} instead of {list(shape)}")
        return value.read().float()

    def matrix(self, name: str, before: int, after: int, gain: float = 1.0, factor: float = 1.0) -> torch.Tensor:
        """The weight [after, before] of a dense layer."""
        return self.take(name, before, after).T.contiguous() * (self._gain(before, gain) * factor)

    def kernel(self, name: str, size: int, before: int, after: int, gain: float) -> torch.Tensor:
        """The weight [after, before, size, size] of a convolution."""
        taps = self.take(name, size, size, before, after).permute(3, 2, 0, 1).contiguous()
        return taps * self._gain(size * size * before, gain)

    def doubling(self, name: str, form: Form, before: int, after: int) -> torch.Tensor:
        """The weight [before, after, 4, 4] of the transposed convolution that doubles and convolves at once."""
        if form == "turned":
            taps = self.take(name, 3, 3, after, before).permute(3, 2, 0, 1)
        else:
            taps = self.take(name, 3, 3, before, after).permute(2, 3, 0, 1)
        if form == "apart":
            taps = taps.flip(2, 3)  # a convolution's taps run against a transposed one's
        taps = functional.pad(taps * self._gain(9 * before, SQRT2), (1, 1, 1, 1))
        return taps[..., 1:, 1:] + taps[..., :-1, 1:] + taps[..., 1:, :-1] + taps[..., :-1, :-1]

    def finish(self, ignored: str) -> None:
        """Refuse a network with more in it than was taken and one variable that is `ignored`."""
        unknown = self._stored.keys() - self._taken - {ignored}
        if unknown:
            raise ValueError(f"variable {min(unknown)!r:.80} is of no known generator")

    def _gain(self, fan_in: int, gain: float) -> float:
        return gain / math.sqrt(fan_in) if self._scaled else 1.0
