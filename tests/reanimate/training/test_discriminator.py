from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import squeezenet_file
from torch import nn

from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.discriminator import Discriminator, ProjectedHead, _deviation, r1_penalty


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(16, (16, 16, 8))


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures * self.weight).sum((1, 2, 3))


def test_penalty_of_a_linear_discriminator_is_its_squared_length() -> None:
    linear = Linear()
    penalty = r1_penalty(linear, torch.rand(4, 3, 8, 8))  # type: ignore[arg-type]
    length = float(linear.weight.detach().square().sum())
    assert penalty.tolist() == pytest.approx([length] * 4, rel=1e-5)
    penalty.mean().backward()
    assert linear.weight.grad is not None and torch.allclose(linear.weight.grad, 2 * linear.weight, rtol=1e-4)


def test_penalty_has_gradient_for_every_weight(discriminator: Discriminator) -> None:
    r1_penalty(discriminator, torch.rand(4, 3, 16, 16)).sum().backward()
    without = {name for name, p in discriminator.named_parameters() if p.grad is None}
    assert without == {"logit.bias"}  # a shift of the logit changes no slope


def test_one_logit_a_picture_in_float32_whatever_the_precision(discriminator: Discriminator) -> None:
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    exact, rounded = discriminator(pictures), discriminator(pictures, torch.bfloat16)
    assert exact.shape == rounded.shape == (8,) and rounded.dtype == torch.float32
    assert torch.allclose(exact, rounded, atol=0.05)


def test_group_of_equal_pictures_is_told_from_one_of_different() -> None:
    different = torch.rand(4, 3, 16, 16)
    equal = different[:1].repeat(4, 1, 1, 1)
    seen = _deviation(torch.cat([equal, different])[[0, 4, 1, 5, 2, 6, 3, 7]])  # a group is every other picture
    assert seen.shape == (8, 1, 16, 16)
    assert float(seen[::2].max()) < 1e-3 < 0.1 < float(seen[1::2].min())


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_any_number_of_pictures_can_be_judged(discriminator: Discriminator, count: int) -> None:
    assert discriminator(torch.rand(count, 3, 16, 16)).isfinite().all()


def test_head_learns_and_what_it_stands_on_does_not(tmp_path: Path) -> None:
    features = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    head = ProjectedHead(features)
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    logits = head(pictures)
    logits.sum().backward()
    assert logits.shape == (2,) and pictures.grad is not None
    assert all(p.grad is not None for p in head.parameters())
    assert not list(features.parameters()) and not any("features" in name for name in head.state_dict())
