from __future__ import annotations

import pytest
import torch

from reanimate.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16), (1, 9)])
def test_singular_values_become_nearly_one_and_their_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix * 1e-3)
    inside = left.T @ found @ right.T
    assert ((inside.diagonal() > 0.6) & (inside.diagonal() < 1.3))[values > 0.05 * values[0]].all()
    torch.testing.assert_close(inside, inside.diagonal().diag(), atol=1e-3, rtol=0)


def test_of_nothing_there_is_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))
    weight = torch.ones(3, 5, requires_grad=True)
    optimiser = Muon([{"params": [weight], "lr": 1.0}])
    optimiser.step()
    weight.grad = torch.zeros(3, 5)
    optimiser.step()
    assert torch.equal(weight.detach(), torch.ones(3, 5))


def test_steps_have_the_size_that_is_asked_for_whatever_the_gradients() -> None:
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(4, 6, 3, 3, generator=draw).requires_grad_(True) for _ in range(2)]
    before = [weight.detach().clone() for weight in weights]
    for weight, size in zip(weights, (1e-6, 1e6), strict=True):
        weight.grad = size * torch.randn(weight.shape, generator=draw)
    Muon([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.5}]).step()
    for weight, was, size in zip(weights, before, (0.1, 0.5), strict=True):
        step = was - weight.detach()
        assert float(step.square().mean().sqrt()) == pytest.approx(size, rel=1e-4)
        assert (step * weight.grad).sum() > 0, "downhill"


def test_directions_that_gradients_hardly_show_are_learnt_as_fast() -> None:
    target = torch.randn(6, 20, generator=torch.Generator().manual_seed(2))
    scale = torch.logspace(0, -2, 20)
    weight = torch.zeros(6, 20, requires_grad=True)
    optimiser = Muon([{"params": [weight], "lr": 0.05}])
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimiser.zero_grad()
        (((weight - target) * scale).square().sum()).backward()
        optimiser.step()
    left = (weight.detach() - target)[:, :8].square().mean() / target[:, :8].square().mean()
    assert float(left) < 0.05
