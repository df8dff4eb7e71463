from __future__ import annotations

import pytest
import torch

from reanimate.training.augment import ADJUST_IMAGES, LIMIT, TARGET, Augmentation, changed


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(64, 3, 16, 16, generator=seeded()) * 2 - 1


def test_nothing_changes_at_probability_zero(pictures: torch.Tensor) -> None:
    augmentation = Augmentation("cpu", 0.0)
    assert torch.allclose(changed(pictures, augmentation.draw(64, seeded())), pictures, atol=1e-5)


@pytest.mark.parametrize(("probability", "least", "most"), [(0.05, 0.2, 0.7), (1.0, 1.0, 1.0)])
def test_share_of_changed_pictures_follows_the_probability(
    pictures: torch.Tensor, probability: float, least: float, most: float
) -> None:
    change = Augmentation("cpu", probability).draw(64, seeded())
    differing = (changed(pictures, change) - pictures).abs().amax((1, 2, 3)) > 1e-3
    assert least <= float(differing.float().mean()) <= most


def test_same_change_is_made_to_both_of_a_pair(pictures: torch.Tensor) -> None:
    change = Augmentation("cpu", 1.0).draw(2, seeded())
    both = changed(pictures[:1].repeat(2, 1, 1, 1), tuple(part[:1].repeat(2, 1, 1) for part in change))  # type: ignore[arg-type]
    assert torch.equal(both[0], both[1])


def test_gradient_reaches_the_pictures(pictures: torch.Tensor) -> None:
    pictures.requires_grad_(True)
    changed(pictures, Augmentation("cpu", 0.5).draw(64, seeded())).square().sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().amin((1, 2, 3)).min()) >= 0
    assert float(pictures.grad.abs().sum()) > 0


def test_probability_rises_while_photographs_are_recognised_and_falls_while_they_are_not() -> None:
    augmentation = Augmentation("cpu")
    sure, unsure = torch.ones(64), torch.tensor([1.0, -1.0]).repeat(32)
    before = float(augmentation.probability)
    for _ in range(10):
        augmentation.steer(sure)
    risen = float(augmentation.probability)
    assert before < risen <= before + 10 * 64 / ADJUST_IMAGES + 1e-6
    for _ in range(20):
        augmentation.steer(unsure)
    assert float(augmentation.probability) < risen
    assert 0 < TARGET < 1


@pytest.mark.parametrize(("logit", "end"), [(1.0, LIMIT), (-1.0, 0.0)])
def test_probability_stays_between_zero_and_its_limit(logit: float, end: float) -> None:
    augmentation = Augmentation("cpu", 0.4)
    for _ in range(50):
        augmentation.steer(torch.full([4096], logit))
    assert float(augmentation.probability) == pytest.approx(end)


def test_saved_probability_goes_on() -> None:
    first, second = Augmentation("cpu"), Augmentation("cpu")
    for _ in range(5):
        first.steer(torch.ones(640))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.probability, first.probability) and torch.equal(second.sureness, first.sureness)
