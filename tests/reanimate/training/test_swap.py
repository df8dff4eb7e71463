from __future__ import annotations

import pytest
import torch

from reanimate.training.batches import Batch
from reanimate.training.swap import arrived, exchanged, missed


def batch(pictures: torch.Tensor) -> Batch:
    return Batch(pictures, torch.arange(len(pictures)), torch.zeros(len(pictures), 2, 3))


def test_neighbours_exchange_their_movements() -> None:
    moves = torch.randn(6, 4, 8)
    assert torch.equal(exchanged(moves), moves[[1, 0, 3, 2, 5, 4]])


def test_only_where_pictures_change_is_a_movement_missed() -> None:
    before, after = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    after[:, :, :4] = 0.5
    resting, moved = batch(before), batch(after)
    assert float(missed(after, resting, moved)) == 0.0
    assert float(missed(before, resting, moved)) == pytest.approx(0.5)
    elsewhere = after.clone()
    elsewhere[:, :, 8:] = 1.0
    assert float(missed(elsewhere, resting, moved)) == 0.0


def test_places_count_by_how_much_they_change() -> None:
    before, after = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    after[:, :, :4], after[:, :, 4:8] = 0.9, 0.1
    half = after.clone()
    half[:, :, :4] = 0.0
    other = after.clone()
    other[:, :, 4:8] = 0.0
    assert float(missed(half, batch(before), batch(after))) == pytest.approx(0.9 * 0.9)
    assert float(missed(other, batch(before), batch(after))) == pytest.approx(0.1 * 0.1)


def test_where_nothing_moves_nothing_is_missed() -> None:
    still = batch(torch.zeros(2, 3, 16, 16))
    assert float(missed(torch.ones(2, 3, 16, 16), still, still)) == 0.0


def test_share_of_a_change_that_arrives_is_a_slope() -> None:
    pictures = torch.randn(4, 3, 16, 16)
    change = torch.randn(4, 1, 16, 16)
    resting, moved = batch(pictures), batch(pictures + change)
    elsewhere = torch.randn(4, 3, 16, 16)
    for share in (0.0, 0.4, 1.0):
        assert float(arrived(elsewhere, elsewhere + share * change, resting, moved)) == pytest.approx(share, abs=1e-5)
    assert float(arrived(elsewhere, elsewhere + change.roll(4, 3), resting, moved)) == pytest.approx(0, abs=0.15)
