from __future__ import annotations

import pytest
import torch

from reanimate.inversion.best import Best

DESCENT = [1.0, 3.0, 2.5, 2.0, 1.6, 1.3, 1.1, 0.9]  # a warm start, which the first long steps leave


def told(losses: list[float], patience: int) -> tuple[Best, list[bool]]:
    """What is kept of a variable that counts the passes, and after which of them it went on."""
    best = Best([torch.zeros(1, 1)], patience, 1e-3, 0.0)
    going = []
    for at, loss in enumerate(losses):
        best.look([torch.full((1, 1), float(at))], torch.tensor([loss]))
        going.append(best.goes_on())
    return best, going


def test_coming_down_from_above_the_start_is_no_plateau() -> None:
    best, going = told(DESCENT, patience=3)
    assert all(going)
    assert float(best.parts[0]) == 7.0 and float(best.loss) == pytest.approx(0.9)


def test_start_is_kept_where_nothing_beats_it() -> None:
    best, _ = told(DESCENT[:-1], patience=3)
    assert float(best.parts[0]) == 0.0 and float(best.loss) == 1.0


def test_plateau_above_the_start_ends_too() -> None:
    _, going = told([1.0, 3.0, 2.0, 2.0, 2.0, 2.0], patience=3)
    assert going == [True, True, True, True, True, False]


def test_start_alone_ends_nothing() -> None:
    _, going = told([1.0, 0.9, 0.95], patience=1)
    assert going == [True, True, False]
