"""What a checkpoint holds once it has been opened: data without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from reanimate.generators.protocol import GeneratorConfig


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor or array that still lies in its file."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    _read: Callable[[], torch.Tensor]

    def read(self) -> torch.Tensor:
        """A fresh contiguous tensor of `shape` and `dtype` in memory.

        Raises:
            ModelError: the file no longer holds it.
        """
        return self._read()


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """An object of an NVIDIA pickle: the name of its class, and its attributes."""

    class_name: str
    state: dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network of a TensorFlow pickle: what it wrote of itself."""

    state: dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A checkpoint's generator in this library's terms."""

    family: str
    config: GeneratorConfig
    weights: dict[str, torch.Tensor]
    """Float32, by the names that the family's network gives its state."""
