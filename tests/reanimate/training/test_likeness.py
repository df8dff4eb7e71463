from __future__ import annotations

from pathlib import Path

import torch
from conftest import squeezenet_file

from reanimate.inversion.features import SqueezeNetFeatures, weighted_mean
from reanimate.training.batches import Batch
from reanimate.training.identity import exact_alignment
from reanimate.training.likeness import Likeness


def batch(pictures: torch.Tensor) -> Batch:
    return Batch(pictures, torch.arange(len(pictures)), exact_alignment(len(pictures), "cpu"))


def test_error_counts_as_much_as_the_window_says_of_its_place(tmp_path: Path) -> None:
    window = torch.full((1, 1, 8, 8), 0.5)
    window[:, :, :, 4:] = 1.5
    network = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    real = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    left, right = real.clone(), real.clone()
    left[:, :, :, :16] *= -1
    right[:, :, :, 48:] *= -1
    equal = Likeness(network, None), Likeness(network, None, window)
    (even_left, even_right), (by_left, by_right) = ([m.parts(f, batch(real)) for f in (left, right)] for m in equal)
    assert torch.allclose(by_left["l1"], 0.5 * even_left["l1"])
    assert torch.allclose(by_right["l1"], 1.5 * even_right["l1"])
    assert by_left["features"] < even_left["features"] and by_right["features"] > even_right["features"]


def test_even_window_is_the_mean() -> None:
    values = torch.rand(3, 5, 7)
    assert torch.allclose(weighted_mean(values, torch.ones(1, 1, 4, 4)), values.mean((1, 2)))
