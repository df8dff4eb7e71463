from __future__ import annotations

import pytest
import torch

from reanimate.inversion.optimisers import FRAME, RANK, STILL, Memory, SharedCurvature, falling, make_optimiser

STEP_SIZES = (0.01, 0.03, 0.1, 0.3, 1.0)


def valley(size: int, seed: int = 0) -> torch.Tensor:
    """[P, P] the matrix of a quadratic that is no coordinate's business: a long narrow valley, turned."""
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))
    return turn @ torch.diag(torch.logspace(0, 3, size)) @ turn.T


def descend(
    name: str, bend: torch.Tensor, lr: float, steps: int, memory: Memory | None = None, count: int = 2
) -> float:
    start = torch.randn(count, len(bend), generator=torch.Generator().manual_seed(1))
    variable = start.clone().requires_grad_(True)
    optimiser = make_optimiser(name, variable, lr, memory or Memory())  # type: ignore[arg-type]
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad()
        loss = ((variable @ bend) * variable).sum(1)
        loss.sum().backward()
        optimiser.step()
    variable = variable.detach()
    return float(((variable @ bend) * variable).sum() / ((start @ bend) * start).sum())


def test_curvature_descends_a_turned_valley_where_adam_zigzags() -> None:
    bend = valley(40)
    adam = min(descend("adam", bend, lr, 100) for lr in STEP_SIZES)
    curvature = min(descend("curvature", bend, lr, 100) for lr in STEP_SIZES)
    assert curvature < 0.1 * adam


def test_pictures_of_a_batch_learn_from_each_other() -> None:
    bend = valley(100)
    alone = min(descend("curvature", bend, lr, 50, count=1) for lr in STEP_SIZES)
    together = min(descend("curvature", bend, lr, 50, count=8) for lr in STEP_SIZES)
    assert together < 0.5 * alone


def test_memory_shapes_like_the_root_of_the_second_moment() -> None:
    """Source of the formula: Agarwal et al. 2019, with the regularisation that the docstring names."""
    gradients = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 4, 8, 16])
    memory = Memory()
    memory.add(gradients)
    moment = (gradients.T @ gradients / 12).double()
    moment = moment + 0.1 * torch.linalg.eigvalsh(moment).mean() * torch.eye(5, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(moment)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    one = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        memory.shaped(one, 0.5, afresh=True), (one.double() @ root).float(), rtol=1e-4, atol=1e-5
    )


def test_other_powers_of_the_second_moment_step_as_far_in_all() -> None:
    gradients = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 4, 8, 16])
    memory = Memory()
    memory.add(gradients)
    by_root, by_more = memory.shaped(gradients, 0.5, afresh=True), memory.shaped(gradients, 0.75, afresh=True)
    assert float(by_more.square().mean()) == pytest.approx(float(by_root.square().mean()), rel=1e-4)
    steep = by_more[:, 4].square().mean() / by_more[:, 0].square().mean()
    assert steep < 0.7 * by_root[:, 4].square().mean() / by_root[:, 0].square().mean()


def test_known_curvature_is_trusted_further_than_one_that_is_learnt() -> None:
    assert FRAME.power > STILL.power


def test_steps_fall_to_nothing_along_the_curve_that_suits_them() -> None:
    variable = torch.zeros(1, 1)
    line, curve = (make_optimiser(name, variable, 1.0, Memory()) for name in ("curvature", "adam"))
    assert [falling(line, share) for share in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [falling(curve, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert falling(curve, 0.25) > 0.8


def test_oldest_gradients_are_forgotten() -> None:
    gradients = torch.randn(RANK + 30, 6, generator=torch.Generator().manual_seed(0))
    memory = Memory()
    for part in gradients.split(50):
        memory.add(part)
    rows = memory.rows()
    assert rows is not None
    torch.testing.assert_close(rows, gradients[30:])


def test_rows_of_a_memory_make_the_same_memory() -> None:
    memory = Memory()
    memory.add(torch.randn(RANK + 7, 9, generator=torch.Generator().manual_seed(0)))
    rows, one = memory.rows(), torch.randn(2, 9, generator=torch.Generator().manual_seed(1))
    assert rows is not None
    torch.testing.assert_close(Memory(rows).shaped(one, 0.5, afresh=True), memory.shaped(one, 0.5, afresh=True))


def test_copy_does_not_change_with_the_original() -> None:
    memory = Memory()
    memory.add(torch.eye(4))
    copy, one = memory.copy(), torch.ones(1, 4)
    before = copy.shaped(one, 0.5, afresh=True)
    memory.add(100 * torch.eye(4))
    assert torch.equal(copy.shaped(one, 0.5, afresh=True), before)


def test_memory_without_gradients_has_no_rows() -> None:
    assert Memory().rows() is None


def test_gradient_that_overflowed_moves_nothing() -> None:
    variable = torch.zeros(2, 3, requires_grad=True)
    optimiser = SharedCurvature([variable], 1.0, Memory())
    variable.grad = torch.tensor([[float("nan"), float("inf"), 1.0], [1.0, 0.0, 0.0]])
    optimiser.step()
    assert torch.isfinite(variable).all()
    assert variable[0, 2] < 0 and variable[1, 0] < 0


def test_unknown_optimiser_is_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="lbfgs"):
        make_optimiser("lbfgs", torch.zeros(1, 1), 1.0, Memory())  # type: ignore[arg-type]
