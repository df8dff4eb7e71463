"""Layers are exchanged, and nothing else."""

from __future__ import annotations

import pytest
import torch

from reanimate.inversion.mixing import crossings, exchange

A, B = torch.zeros(1, 4, 3), torch.ones(1, 4, 3)


def test_named_layers_come_from_the_other() -> None:
    assert exchange(A, B, (0, 2))[0, :, 0].tolist() == [1, 0, 1, 0]
    assert torch.equal(exchange(A, B, ()), A)
    assert torch.equal(exchange(A, B, range(4)), B)


def test_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        exchange(A, B, (4,))


def test_crossings_go_from_one_to_the_other_and_back() -> None:
    rows = crossings(A[0], B[0])
    assert rows.shape == (2, 5, 4, 3)
    assert rows[0].mean((1, 2)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert torch.equal(rows[1], 1 - rows[0])
    assert rows[0, 1, 0].tolist() == [1, 1, 1], "coarse layers first"
