"""What passes need of weights that do not change, computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Value = TypeVar("Value")


class Frozen(Generic[Value]):
    """A value computed from weights, kept for as long as nothing trains or changes them."""

    def __init__(self) -> None:
        self._kept: tuple[list[torch.Tensor], list[int], Value] | None = None

    def of(self, weights: list[torch.Tensor], compute: Callable[[], Value]) -> Value:
        """What `compute` gives for `weights`, or gave for the same ones."""
        if torch.compiler.is_compiling():  # asked first: a graph must not be broken by what follows
            return compute()
        trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
        if trained or torch.is_inference_mode_enabled():
            self._kept = None
            return compute()
        versions = [weight._version for weight in weights]
        if self._kept is None or self._kept[1] != versions or not _same(self._kept[0], weights):
            with torch.no_grad():
                # what is kept shares the memory, so that no other weight can lie at its address meanwhile
                self._kept = [weight.detach() for weight in weights], versions, compute()
        return self._kept[2]


def _same(kept: list[torch.Tensor], weights: list[torch.Tensor]) -> bool:
    return all(a.data_ptr() == b.data_ptr() and a.dtype == b.dtype for a, b in zip(kept, weights, strict=True))
