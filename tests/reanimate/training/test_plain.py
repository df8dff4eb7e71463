from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import made_up_faces, squeezenet_file
from torch import nn

from reanimate.checkpoints.bundle import load_bundle
from reanimate.checkpoints.families import family_of, family_types
from reanimate.generators.pggan import PGGAN
from reanimate.images import read_image
from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.likeness import Likeness
from reanimate.training.plain import Family, Plain, PlainConfig, equalised, generator_shape
from reanimate.training.run import Training

FAMILIES: tuple[Family, ...] = get_args(Family)
NOTHING = Likeness(None, None)
TINY = PlainConfig(resolution=16, images=96, batch=8, channel_base=128, channel_max=16, z_dim=8)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture
def make() -> Callable[..., Plain]:
    def build(**changes: Any) -> Plain:
        return Plain(replace(TINY, **changes), made_up_faces(), NOTHING, "cpu", compiled=False)

    return build


def weights(model: Plain) -> dict[str, torch.Tensor]:
    networks = (model.networks.generator, model.networks.generator_average, model.opponent.discriminator)
    return {f"{i}.{name}": v.clone() for i, network in enumerate(networks) for name, v in network.state_dict().items()}


def test_every_weight_of_every_family_learns(make: Callable[..., Plain], family: Family) -> None:
    model = make(family=family)
    before = {name: value.clone() for name, value in model.networks.generator.named_parameters()}
    for _ in range(2):
        losses = model.step()
        assert all(value.ndim == 0 and not value.requires_grad and value.isfinite() for value in losses.values())
    after = dict(model.networks.generator.named_parameters())
    idle = {name.partition(".")[0] for name in before if torch.equal(before[name], after[name])}
    assert idle == ({"torgb_lod1", "torgb_lod2"} if family == "pggan" else set())  # which draw while it grows
    assert set(losses) == {"generator", "discriminator", "augmentation"}


def test_generator_learns_to_pass_for_photographs(make: Callable[..., Plain], family: Family) -> None:
    """Against an opponent that learns nothing itself."""
    model = make(family=family, images=800)
    model.opponent.rates = [0.0]
    doubts = []
    while model.images < 320:
        doubts.append(float(model.step()["generator"]))
    assert np.mean(doubts[-5:]) < np.mean(doubts[:5]) - 0.02


def test_state_restored_goes_on_to_the_last_bit(make: Callable[..., Plain], family: Family) -> None:
    """Noise too, which style generators draw for themselves."""
    straight, begun = make(family=family), make(family=family)
    for _ in range(5):
        straight.step()
    for _ in range(3):
        begun.step()
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    resumed = make(family=family)
    resumed.restore(torch.load(file, weights_only=True))
    for _ in range(2):
        resumed.step()
    a, b = weights(straight), weights(resumed)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_exported_bundle_loads_and_draws_as_the_average_does(tmp_path: Path, family: Family) -> None:
    run = Training(tmp_path / "run", replace(TINY, family=family, images=16), made_up_faces(), NOTHING, "cpu")
    assert run.run(lambda images, losses: None)
    assert read_image(tmp_path / "run" / "samples.png").shape == (4 * 18 - 2, 8 * 18 - 2, 3)
    assert not (tmp_path / "run" / "reconstructions.png").exists()
    assert run.own_features(1, lambda images, losses: None) is None
    card = run.export(tmp_path / "model", "m", "MIT", "blots")
    loaded = load_bundle(str(tmp_path / "model"))
    assert (loaded.card.family, loaded.encoder) == (family, None)
    provenance = card.provenance
    assert (provenance["images_seen"], provenance["device"], provenance["settings"]["family"]) == (16, "cpu", family)
    assert card.measured["weights"] == sum(p.numel() for p in loaded.generator.parameters())  # type: ignore[attr-defined]
    assert card.measured["multiply_adds"] > 0
    average = run.model.networks.generator_average
    z = torch.randn(4, 8)
    a, b = (g.synthesis(g.mapping(z, truncation_psi=0.5)) for g in (average, loaded.generator))
    assert torch.allclose(a, b, atol=0.05) and not torch.allclose(b[0], b[1], atol=0.01)


def test_families_are_given_about_as_many_weights() -> None:
    shapes = [generator_shape(PlainConfig(family)) for family in FAMILIES]
    counts = [sum(p.numel() for p in family_types(family_of(s), "")[1](s).parameters()) for s in shapes]
    assert max(counts) < 1.5 * min(counts)


def test_all_that_differs_between_families_is_the_generator(make: Callable[..., Plain]) -> None:
    models = [make(family=family) for family in FAMILIES]
    assert len({str(model.opponent.discriminator) for model in models}) == 1
    assert len({str(replace(model.config, family="pggan")) for model in models}) == 1


def test_perceptual_network_is_opponent_to_every_family(tmp_path: Path, family: Family) -> None:
    network = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    config = replace(TINY, family=family, resolution=32)
    model = Plain(config, made_up_faces(resolution=32), Likeness(network, None), "cpu", compiled=False)
    assert model.opponent.head is not None and "SqueezeNet" in model.method
    before = [p.clone() for p in model.opponent.head.parameters()]
    model.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.opponent.head.parameters(), strict=True))


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_augmentation_begins_where_it_is_told_to(make: Callable[..., Plain], probability: float) -> None:
    assert float(make(augmentation=probability).opponent.augmentation.probability) == probability


def test_noise_is_learnt(make: Callable[..., Plain]) -> None:
    model = make(family="stylegan2")
    model.step()
    strengths = [p for name, p in model.networks.generator.named_parameters() if name.endswith("noise_strength")]
    assert strengths and all(float(strength.detach()) != 0 for strength in strengths)


def test_steps_are_in_proportion_to_weights_at_first() -> None:
    """As if weights were kept at unit scale and multiplied when they run."""
    torch.manual_seed(0)
    scaled, unit = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
    nn.init.normal_(unit.weight)
    scaled.weight.data = 0.05 * unit.weight.data
    x = torch.randn(8, 64)
    groups = (equalised(scaled, 0.01), [{"params": [unit.weight], "lr": 0.01}])
    for group, gain, network in zip(groups, (1.0, 0.05), (scaled, unit), strict=True):
        optimiser = torch.optim.Adam(group, betas=(0.0, 0.99), eps=0.0)
        for _ in range(3):
            optimiser.zero_grad()
            (network(x) * gain - 1).square().sum().backward()
            optimiser.step()
    assert torch.allclose(scaled.weight, 0.05 * unit.weight, rtol=0.01, atol=1e-4)


def test_steps_are_never_more_than_asked_for() -> None:
    network = PGGAN(generator_shape(PlainConfig("pggan")))  # type: ignore[arg-type]
    rates = {
        name: group["lr"] for (name, _), group in zip(network.named_parameters(), equalised(network, 1.0), strict=True)
    }
    assert all(0 < rate <= 1 for rate in rates.values())
    assert rates["b8.layer1.weight"] == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.05)
    assert rates["b8.layer1.bias"] == 1


def test_average_of_w_is_that_of_the_averaged_mapping(make: Callable[..., Plain]) -> None:
    model = make(family="stylegan2")
    model.step()
    codes = model.fit_w(np.arange(1))
    assert codes.shape == (10_000, 8)
    assert torch.allclose(model.networks.generator_average.w_avg, codes.mean(0))
