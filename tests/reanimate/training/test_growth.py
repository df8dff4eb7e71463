"""A model grown to twice its resolution keeps what it knew."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import made_up_faces
from torch.nn import functional

from reanimate.checkpoints.bundle import Bundle, Card
from reanimate.errors import ConfigError
from reanimate.training.autoencoder import Autoencoder, AutoencoderConfig
from reanimate.training.data import Faces
from reanimate.training.growth import Growth, GrowthConfig
from reanimate.training.likeness import Likeness

NOTHING = Likeness(None, None)  # but L1
TINY = GrowthConfig(resolution=16, images=400, batch=4, faces=12, warmup_images=1, ema_images=20)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return made_up_faces()


@pytest.fixture(scope="module")
def start(faces: Faces) -> Bundle:
    """A model of 8 px that has learnt a little."""
    config = AutoencoderConfig(
        resolution=8, first_resolution=8, images=200, batch=4, channel_base=64, channel_max=8, w_dim=8, grow_at=0.0
    )
    small = Autoencoder(replace(config, swap=False), faces, NOTHING, "cpu", compiled=False)
    while small.images < 200:
        small.step()
    networks, card = small.networks, Card("small", "stylegan2", {}, "", {}, licence="", provenance={}, measured={})
    return Bundle(card, networks.generator_average, networks.encoder_average)


@pytest.fixture
def make(faces: Faces, start: Bundle) -> Callable[..., Growth]:
    def build(**changes: object) -> Growth:
        return Growth(replace(TINY, **changes), faces, NOTHING, "cpu", start)  # type: ignore[arg-type]

    return build


def test_grown_model_begins_as_the_one_it_grew_from(make: Callable[..., Growth], start: Bundle) -> None:
    networks = make().networks
    small = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = functional.interpolate(small, scale_factor=2, mode="nearest")
    assert start.encoder is not None
    codes, before = networks.encoder_average(large), start.encoder(small)
    assert codes.shape == (3, 6, 8)
    torch.testing.assert_close(codes[:, :4], before)
    torch.testing.assert_close(codes[:, 4:], before[:, 3:].expand(-1, 2, -1), msg="new layers begin as the last one")
    fir = networks.generator.synthesis_network.fir
    expected = functional.conv_transpose2d(
        start.generator.synthesis(before, "none"), (fir * 4).expand(3, 1, -1, -1), stride=2, padding=1, groups=3
    )
    torch.testing.assert_close(networks.rebuilt(large), expected, atol=1e-5, rtol=1e-4)


def test_what_drew_below_and_what_the_encoder_says_of_it_stay(make: Callable[..., Growth], start: Bundle) -> None:
    model = make()
    small = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = functional.interpolate(small, scale_factor=2, mode="nearest")
    assert start.encoder is not None
    before = {name: value.clone() for name, value in model.networks.generator.state_dict().items()}
    while model.images < 80:
        model.step()
    after = model.networks.generator.state_dict()
    changed = {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"b8", "b16"}
    said = model.networks.encoder_average(large)
    torch.testing.assert_close(said[:, :4], start.encoder(small))
    assert not torch.allclose(said[:, 4:], start.encoder(small)[:, 3:].expand(-1, 2, -1), atol=1e-3)


def test_growing_brings_faces_closer_by_their_codes_and_by_the_encoder(make: Callable[..., Growth]) -> None:
    model = make(code_lr=0.1, generator_lr=2e-2)
    chosen = model.chosen.numpy()

    def distances() -> tuple[float, float]:
        real, said = model.networks.reconstruct(chosen)
        with torch.no_grad():
            learnt = model.networks.generator_average.synthesis(model.codes, "none")
        return float((real - learnt).abs().mean()), float((real - said).abs().mean())

    learnt, said = distances()
    assert learnt == pytest.approx(said, rel=1e-4), "codes begin where the encoder puts them"
    while model.images < 400:
        losses = model.step()
    assert set(losses) == {"total", "l1", "said"} and not any(value.requires_grad for value in losses.values())
    now_learnt, now_said = distances()
    assert now_learnt < 0.8 * learnt and now_said < said


def test_every_face_with_a_code_is_shown_once_a_turn_and_nobody_held_out(
    make: Callable[..., Growth], faces: Faces
) -> None:
    model = make(batch=5)
    assert len(set(model.chosen.tolist())) == 12 and not faces.held_out[model.chosen.numpy()].any()
    seen = []
    for _ in range(12):
        seen += model._rows().tolist()
        model.images += 5
    turns = np.array(seen).reshape(5, 12)
    assert (np.sort(turns, 1) == np.arange(12)).all() and not (turns[0] == turns[1]).all()


def test_growth_goes_on_as_if_it_had_never_stopped(make: Callable[..., Growth]) -> None:
    whole, first, second = make(), make(), make()
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second.restore(torch.load(file, weights_only=True))
    for _ in range(3):
        second.step()
    assert torch.equal(whole.codes, second.codes) and whole.images == second.images
    for a, b in zip(whole.networks.state(), second.networks.state(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_only_twice_the_resolution_is_grown_to(faces: Faces, start: Bundle) -> None:
    with pytest.raises(ConfigError, match="a model of 8 px grows to 16"):
        Growth(replace(TINY, resolution=32), faces, NOTHING, "cpu", start)
