from __future__ import annotations

import pytest
import torch
from torch import nn

from reanimate.training.average import averaged, follow, share_kept


def test_average_moves_by_what_is_not_kept_and_takes_buffers_whole() -> None:
    network = nn.BatchNorm1d(3)
    average = averaged(network)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(5.0)  # type: ignore[union-attr]
    follow(average, network, 0.75)
    assert torch.allclose(average.weight, torch.full([3], 1.5))
    assert torch.equal(average.running_mean, torch.full([3], 5.0))  # type: ignore[arg-type]
    assert not any(p.requires_grad for p in average.parameters())


def test_half_of_an_average_is_left_after_its_half_life() -> None:
    kept = 1.0
    for _ in range(100):
        kept *= share_kept(10, 1_000_000, half_life=1000.0, ramp=0.05)
    assert kept == pytest.approx(0.5)


def test_first_weights_are_soon_forgotten() -> None:
    assert share_kept(64, 64, 10_000.0, 0.05) < 1e-5 < 0.9 < share_kept(64, 100_000, 10_000.0, 0.05)
