from __future__ import annotations

import pytest

from reanimate.types import spread


@pytest.mark.parametrize("total", [1, 2, 5, 9, 122])
@pytest.mark.parametrize("most", [1, 2, 4, 8])
def test_spread_indices_rise_are_not_repeated_and_hold_both_ends(total: int, most: int) -> None:
    found = spread(total, most)
    assert len(found) == min(total, most) == len(set(found)) and found == sorted(found)
    assert found[0] == 0 and (most == 1 or found[-1] == total - 1)


def test_spread_is_even() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]


def test_nothing_is_spread_over_nothing() -> None:
    assert spread(0, 4) == []
