from __future__ import annotations

from dataclasses import fields

import torch

from reanimate.faces.puppet import Act
from reanimate.training.acts import WIDEST, draw_acts


def test_two_faces_move_alike_mirrored_ones_turning_the_other_way() -> None:
    gap = torch.linspace(0, 0.3, 400)
    mirrored = torch.arange(400) % 4 == 1
    before, after = draw_acts(gap, mirrored, torch.Generator().manual_seed(0))
    for field in fields(Act):
        first, second = (getattr(act, field.name) for act in (before, after))
        moved = (second - first).view(-1, 2)
        if field.name == "yaw":
            moved = moved * torch.where(mirrored, -1.0, 1.0).view(-1, 2)
        if field.name == "mouth":  # lips cannot part less than not at all
            assert 0 <= float(torch.minimum(first, second).min()) <= float(torch.maximum(first, second).max()) <= WIDEST
            free = ((first > 0) & (second > 0) & (first < WIDEST) & (second < WIDEST)).view(-1, 2).all(1)
            assert free.sum() > 100
            moved = moved[free]
        assert torch.allclose(moved[:, 0], moved[:, 1], atol=1e-6)
        assert 0.2 < float((moved[:, 0].abs() > 1e-6).float().mean()) < 0.95
        assert float(moved[:, 0].min()) < -1e-3 and float(moved[:, 0].max()) > 1e-3  # both ways
    again, _ = draw_acts(gap, mirrored, torch.Generator().manual_seed(0))
    assert torch.equal(again.mouth, before.mouth)
