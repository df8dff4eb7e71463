from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import squeezenet_file

from reanimate.errors import MediaError
from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.inversion.losses import FeatureLoss, Loss, MultiScaleLoss, make_loss


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> SqueezeNetFeatures:
    return SqueezeNetFeatures(squeezenet_file(tmp_path_factory.mktemp("weights") / "squeezenet.npz"))


@pytest.fixture(params=["multiscale 1", "multiscale 2", "features 1", "features 2"])
def loss(request: pytest.FixtureRequest, network: SqueezeNetFeatures) -> Loss:
    kind, norm = request.param.split()
    return MultiScaleLoss(int(norm)) if kind == "multiscale" else FeatureLoss(network, int(norm))


def pictures(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_target_itself_costs_nothing(loss: Loss) -> None:
    target = pictures()
    assert loss(target, loss.prepare(target)).abs().max() < 1e-7


def test_anything_else_costs_something(loss: Loss) -> None:
    assert (loss(pictures(seed=1), loss.prepare(pictures())) > 1e-6).all()


def test_distance_is_the_same_both_ways(loss: Loss) -> None:
    a, b = pictures(), pictures(seed=1)
    assert torch.allclose(loss(a, loss.prepare(b)), loss(b, loss.prepare(a)), rtol=1e-5)


def test_each_picture_is_measured_on_its_own(loss: Loss) -> None:
    a, b = pictures(), pictures(seed=1)
    together = loss(a, loss.prepare(b))
    singles = torch.cat([loss(x[None], loss.prepare(y[None])) for x, y in zip(a, b, strict=True)])
    assert together.shape == (3,)
    assert torch.allclose(together, singles, rtol=1e-4)


def test_farther_pictures_cost_more(loss: Loss) -> None:
    target = pictures(1)
    prepared = loss.prepare(target)
    costs = [float(loss(target.lerp(pictures(1, seed=1), share), prepared)) for share in (0.1, 0.4, 1.0)]
    assert costs == sorted(costs) and costs[0] < costs[-1] / 2


def test_gradient_leads_to_the_target(loss: Loss) -> None:
    prepared = loss.prepare(pictures())
    x = pictures(seed=1).requires_grad_(True)
    before = loss(x, prepared)
    before.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.flatten(1).abs().amax(1) > 0).all()
    step = 0.01 * x.grad / x.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        assert (loss(x - step, prepared) < before).all()


def test_gradient_at_the_target_is_finite(loss: Loss) -> None:
    x = pictures().requires_grad_(True)
    loss(x, loss.prepare(pictures())).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_norms_are_the_mean_of_the_power() -> None:
    target, half = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)  # 8 px: one scale; flat: no differences
    for norm, wanted in ((1, 0.5), (2, 0.25)):
        loss = MultiScaleLoss(norm)
        assert float(loss(half, loss.prepare(target))) == pytest.approx(wanted)


def test_coarse_scales_see_what_the_finest_does_not() -> None:
    """Two textures that are equally far per pixel: the one with another mean colour is farther."""
    target, loss = torch.zeros(1, 3, 64, 64), MultiScaleLoss()
    flat = torch.full_like(target, 0.5)
    checked = 0.5 * (1 - 2.0 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)).expand_as(target)
    prepared = loss.prepare(target)
    assert [len(weights) for weights in prepared[1::3]] == [3 * side**2 for side in (64, 32, 16, 8)]
    assert float(loss(flat, prepared)) == pytest.approx(0.5, rel=1e-5)
    assert float(loss(checked, prepared)) == pytest.approx((0.5 + 1 + 1) / 4, rel=1e-5)


def test_feature_loss_is_the_mean_over_all_features_concatenated(network: SqueezeNetFeatures) -> None:
    a, b = pictures(), pictures(seed=1)
    for norm in (1, 2):
        loss = FeatureLoss(network, norm)
        flat = [torch.cat([m.flatten(1) for m in network(x)], 1) for x in (a, b)]
        assert torch.allclose(loss(a, loss.prepare(b)), (flat[0] - flat[1]).abs().pow(norm).mean(1), rtol=1e-4)


def test_losses_are_made_by_name(tmp_path: Path) -> None:
    made = make_loss("multiscale", 2)
    assert isinstance(made, MultiScaleLoss) and made.norm == 2
    made = make_loss("squeezenet", 1, squeezenet_file(tmp_path / "a.npz"))
    assert isinstance(made, FeatureLoss) and isinstance(made.network, SqueezeNetFeatures)


def test_loss_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="squeezenet"):
        make_loss("squeezenet")
    with pytest.raises(ValueError, match="nothing"):
        make_loss("nothing")  # type: ignore[arg-type]
    with pytest.raises(MediaError):
        make_loss("squeezenet", 1, tmp_path / "none.npz")


@pytest.mark.parametrize("size", [0.01, 0.1, 1.0])
def test_softness_rounds_the_gradient_and_not_the_distance(size: float) -> None:
    """Source of the formula: Charbonnier et al. 1994, the derivative of sqrt(x^2 + softness^2)."""
    loss, target = MultiScaleLoss(), torch.zeros(1, 3, 8, 8)
    prepared, gradients, values = loss.prepare(target), [], []
    for softness in (0.0, 0.1):
        pictures = torch.full_like(target, size).requires_grad_(True)
        losses = loss(pictures, prepared, softness)
        losses.sum().backward()
        assert pictures.grad is not None
        gradients.append(float(pictures.grad.sum()))
        values.append(float(losses.detach()))
    assert values[0] == values[1]
    assert gradients[1] == pytest.approx(gradients[0] * size / (size**2 + 0.1**2) ** 0.5, rel=1e-4)


def test_squares_are_soft_already() -> None:
    loss, target = MultiScaleLoss(2), torch.zeros(1, 3, 8, 8)
    pictures = torch.full_like(target, 0.05).requires_grad_(True)
    losses = loss(pictures, loss.prepare(target), 0.1)
    (soft,) = torch.autograd.grad(losses.sum(), pictures)
    (plain,) = torch.autograd.grad(loss(pictures, loss.prepare(target)).sum(), pictures)
    assert torch.equal(soft, plain)
