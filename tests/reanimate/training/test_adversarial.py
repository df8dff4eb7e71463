from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import made_up_faces, squeezenet_file

from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.adversarial import Adversarial
from reanimate.training.adversarial_config import AdversarialConfig
from reanimate.training.data import Faces
from reanimate.training.likeness import Likeness

TINY = AdversarialConfig(
    resolution=16,
    images=96,
    batch=8,
    channel_base=128,
    channel_max=16,
    w_dim=8,
    path_every=2,
    hybrid_at=0.6,
)
PLAIN = {"generator", "discriminator", "augmentation"}


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Two photographs of everybody."""
    made = made_up_faces()
    names = np.array([f"person{i // 2}/{i}.jpg" for i in range(len(made.names))])
    landmarks = made.landmarks + np.random.default_rng(0).normal(0, 0.2, made.landmarks.shape).astype(np.float32)
    return Faces(made.pictures, landmarks, names, made.resolution)


@pytest.fixture
def make(faces: Faces) -> Callable[..., Adversarial]:
    def build(**changes: Any) -> Adversarial:
        return Adversarial(replace(TINY, **changes), faces, Likeness(None, None), "cpu", compiled=False)

    return build


def weights(model: Adversarial) -> dict[str, torch.Tensor]:
    networks = {"generator": model.networks.generator, "encoder": model.networks.encoder}
    averages = {"g average": model.networks.generator_average, "e average": model.networks.encoder_average}
    others = {"discriminator": model.opponent.discriminator, "augmentation": model.opponent.augmentation}
    return {
        f"{kind}.{name}": value.clone()
        for kind, network in (networks | averages | others).items()
        for name, value in network.state_dict().items()
    }


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], kind: str) -> bool:
    names = [name for name in before if name.startswith(f"{kind}.")]
    return any(not torch.equal(before[name], after[name]) for name in names)


def test_every_phase_makes_finite_steps_and_says_which_losses(make: Callable[..., Adversarial]) -> None:
    model, seen = make(), []
    while model.images < TINY.images:
        losses = model.step()
        assert all(value.ndim == 0 and not value.requires_grad and value.isfinite() for value in losses.values())
        seen.append(set(losses) - PLAIN)
    assert seen[0] == {"l1", "r1"} and seen[1] == {"codes"}  # photographs and generated pictures in turn
    assert "path" not in set().union(*seen[:4]) and "path" in seen[6]
    assert seen[8] == {"l1", "moved", "moments", "path"} and seen[9] == {"l1", "moments"}
    assert all(value.isfinite().all() for value in weights(model).values())


def test_encoder_learns_behind_the_generator_in_phase_one(make: Callable[..., Adversarial]) -> None:
    """With step size 0 for generator and opponent, the first phase changes the encoder alone."""
    model = make(lr=0.0)
    before = weights(model)
    for _ in range(4):
        losses = model.step()
    after = weights(model)
    assert changed(before, after, "encoder") and not changed(before, after, "discriminator")
    generator = {
        name for name in before if name.startswith("generator.") and not torch.equal(before[name], after[name])
    }
    assert generator == {"generator.mapping_network.w_avg"}
    assert "moments" not in losses


def test_reconstruction_teaches_the_generator_in_phase_two(make: Callable[..., Adversarial]) -> None:
    """Where pixels weigh more than everything else, reconstructions come closer."""
    rates = {"lr": 1e-2, "encoder_lr": 5e-3, "slow_at": 2.0, "path_at": 2.0, "ema_images": 50.0}
    model = make(images=600, hybrid_at=0.0, swap=False, pixel_weight=50.0, moment_weight=0.0, **rates)
    everyone = np.arange(8)

    def distance() -> float:
        real, fake = model.networks.reconstruct(everyone)
        return float((real - fake).abs().mean())

    model.step()
    before = distance()
    while model.images < 600:
        model.step()
    assert distance() < 0.8 * before


def test_state_restored_goes_on_to_the_last_bit(make: Callable[..., Adversarial]) -> None:
    straight, begun = make(), make()
    for _ in range(12):
        straight.step()
    for _ in range(9):  # into phase two, a swap behind it
        begun.step()
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    resumed = make()
    resumed.restore(torch.load(file, weights_only=True))
    for _ in range(3):
        resumed.step()
    a, b = weights(straight), weights(resumed)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(straight.path_length, resumed.path_length)


def test_swap_can_be_left_out(make: Callable[..., Adversarial]) -> None:
    model = make(swap=False, hybrid_at=0.0)
    assert not any("moved" in model.step() for _ in range(5))


def test_every_step_size_falls_to_a_quarter(make: Callable[..., Adversarial]) -> None:
    model = make(slow_at=0.5)
    rates = []
    while model.images < TINY.images:
        model.step()
        groups = (*model.optimisers, model.opponent.optimiser)
        rates.append([optimiser.param_groups[0]["lr"] for optimiser in groups])
    assert all(np.isclose(last, first / 4) for first, last in zip(rates[0], rates[-1], strict=True))
    assert rates[0] == rates[5] and rates[6] == rates[-1]


def test_codes_mix_at_a_layer_or_are_one_for_all(make: Callable[..., Adversarial]) -> None:
    model = make()
    for mixing, expected in ((0.0, 0.0), (1.0, 1.0)):
        model.config = replace(TINY, mixing=mixing)
        codes, spread = model._draw_codes(64, torch.Generator().manual_seed(0))
        mixed = (codes[:, 0] != codes[:, -1]).any(1).float().mean()
        assert codes.shape == (64, 6, 8) and float(mixed) == expected and float(spread) > 0


def test_average_of_w_is_that_of_the_averaged_mapping(make: Callable[..., Adversarial], faces: Faces) -> None:
    model = make()
    model.step()
    codes = model.fit_w(np.arange(len(faces.names)))
    assert codes.shape == (len(faces.names), 8)
    generator = model.networks.generator_average
    drawn = generator.mapping(torch.randn(10_000, 8))[:, 0]
    assert torch.allclose(generator.w_avg, drawn.mean(0), atol=0.1 * float(drawn.std()))


def test_perceptual_network_is_teacher_and_opponent(tmp_path: Path) -> None:
    network = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    config = replace(TINY, resolution=32, hybrid_at=0.5, images=32)
    model = Adversarial(config, made_up_faces(resolution=32), Likeness(network, None), "cpu", compiled=False)
    assert model.opponent.head is not None
    before = [p.clone() for p in model.opponent.head.parameters()]
    while model.images < 32:
        losses = model.step()
    assert {"l1", "features"} <= set(losses)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.opponent.head.parameters(), strict=True))
