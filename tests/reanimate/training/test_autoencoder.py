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
from reanimate.training.autoencoder import Autoencoder, AutoencoderConfig
from reanimate.training.data import Faces
from reanimate.training.likeness import Likeness

NOTHING = Likeness(None, None)  # but L1
TINY = AutoencoderConfig(
    resolution=16,
    images=64,
    batch=4,
    channel_base=64,
    channel_max=8,
    w_dim=8,
    first_resolution=8,
    warmup_images=1,
    ema_images=50,
)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return made_up_faces()


@pytest.fixture
def make(faces: Faces) -> Callable[..., Autoencoder]:
    def build(**changes: object) -> Autoencoder:
        return Autoencoder(replace(TINY, **changes), faces, NOTHING, "cpu", compiled=False)  # type: ignore[arg-type]

    return build


def weights(model: Autoencoder) -> dict[str, torch.Tensor]:
    networks = {"generator": model.networks.generator, "encoder": model.networks.encoder}
    averages = {
        "generator average": model.networks.generator_average,
        "encoder average": model.networks.encoder_average,
    }
    return {
        f"{kind}.{name}": value.clone()
        for kind, network in (networks | averages).items()
        for name, value in network.state_dict().items()
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_brings_reconstructions_closer(make: Callable[..., Autoencoder]) -> None:
    model = make(images=400, grow_at=0.2, generator_lr=2e-2, encoder_lr=5e-3)
    everyone = np.arange(8)

    def distance() -> float:
        real, fake = model.networks.reconstruct(everyone)
        assert real.shape == fake.shape == (8, 3, 16, 16)
        return float((real - fake).abs().mean())

    before = distance()
    while model.images < 400:
        losses = model.step()
    assert set(losses) == {"total", "l1", "offset", "moved"}
    assert all(value.ndim == 0 and not value.requires_grad for value in losses.values())
    assert distance() < 0.7 * before


def test_movements_are_exchanged_once_likeness_counts_in_full(make: Callable[..., Autoencoder]) -> None:
    model, seen = make(), []
    while model.images < TINY.images:
        seen.append(set(model.step()) - {"total", "l1", "offset"})
    assert seen == [set()] * 8 + [{"moved"}] * 8


def test_swap_can_be_left_out(make: Callable[..., Autoencoder]) -> None:
    assert set(make(swap=False, feature_ramp=(-1.0, 0.0)).step()) == {"total", "l1", "offset"}


def test_faces_are_drawn_moved_by_what_was_read_from_their_neighbours(
    make: Callable[..., Autoencoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(feature_ramp=(-1.0, 0.0), grow_at=0.0, code_noise=0.0)
    read, drawn = [], []
    networks = model.networks
    parts, synthesis = networks.encoder.parts, networks.generator.synthesis_network.forward

    def reading(pictures: torch.Tensor) -> Any:
        read.append(parts(pictures))
        return read[-1]

    def drawing(codes: torch.Tensor, *options: Any) -> Any:
        drawn.append(codes)
        return synthesis(codes, *options)

    monkeypatch.setattr(networks.encoder, "parts", reading)
    monkeypatch.setattr(networks.generator.synthesis_network, "forward", drawing)
    model.step()
    codes = read[0][0].unsqueeze(1) + read[0][1]
    before, after = codes[:4], codes[4:]
    moves = (after - before)[[1, 0, 3, 2]]
    assert len(read) == len(drawn) == 1 and not torch.equal(before, after)
    assert torch.allclose(drawn[0], torch.cat([before, before + moves]), atol=1e-6)


def test_same_seed_is_the_same_training_and_another_is_not(make: Callable[..., Autoencoder]) -> None:
    models = [make(), make(), make(seed=1)]
    for model in models:
        for _ in range(3):
            model.step()
    first, again, other = (weights(model) for model in models)
    assert same(first, again) and not same(first, other)


def test_batches_are_of_trained_people_only(make: Callable[..., Autoencoder], faces: Faces) -> None:
    model = make()
    drawn: set[int] = set()
    pictures = model.networks.batches.pictures

    class Watched:
        def __getitem__(self, chosen: torch.Tensor) -> torch.Tensor:
            drawn.update(chosen.tolist())
            return pictures[chosen]

    model.networks.batches.pictures = Watched()  # type: ignore[assignment]
    for _ in range(20):
        model.step()
    assert len(drawn) > 10
    assert not drawn & set(np.flatnonzero(faces.held_out).tolist())


def test_state_restored_goes_on_to_the_last_bit(make: Callable[..., Autoencoder]) -> None:
    straight = make(grow_at=0.3)
    for _ in range(8):
        straight.step()
    begun = make(grow_at=0.3)
    for _ in range(4):  # the upper block joins between the fifth step and the sixth
        begun.step()
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    resumed = make(grow_at=0.3)
    resumed.restore(torch.load(file, weights_only=True))
    assert resumed.images == 16
    for _ in range(4):
        resumed.step()
    assert same(weights(resumed), weights(straight))


def test_upper_blocks_rest_until_they_join(make: Callable[..., Autoencoder]) -> None:
    model = make(grow_at=0.5)
    block = model.networks.generator.synthesis_network.get_submodule("b16")
    before = {name: p.clone() for name, p in block.named_parameters()}
    while model.images < 32:
        model.step()
    assert all(torch.equal(p, before[name]) for name, p in block.named_parameters())
    model.step()
    assert not torch.equal(block.get_parameter("torgb.weight"), before["torgb.weight"])


def test_upper_blocks_join_without_a_jolt(make: Callable[..., Autoencoder]) -> None:
    network = make().networks.generator.synthesis_network
    ws = torch.randn(2, 6, 8)
    full, lower = network(ws, "none"), network(ws, "none", 8)
    enlarged = torch.nn.functional.conv_transpose2d(
        lower, (network.fir * 4).expand(3, 1, -1, -1), stride=2, padding=1, groups=3
    )
    assert torch.allclose(full, enlarged, atol=1e-6)


def test_step_size_rises_at_first_and_falls_to_its_last_share(make: Callable[..., Autoencoder]) -> None:
    model = make(warmup_images=16, final_lr_share=0.1)
    sizes = []
    while model.images < 64:
        model.step()
        sizes.append(model.optimiser.param_groups[0]["lr"])
    top = int(np.argmax(sizes))
    assert 2 <= top <= 4
    assert sizes[: top + 1] == sorted(sizes[: top + 1]) and sizes[top:] == sorted(sizes[top:], reverse=True)
    assert sizes[-1] < 0.15 * TINY.generator_lr


def test_averages_follow_the_weights_slowly(make: Callable[..., Autoencoder]) -> None:
    model = make(ema_images=100.0)
    for _ in range(10):
        model.step()
    before = model.networks.encoder_average.to_w.weight.clone(), model.networks.encoder.to_w.weight.detach().clone()
    model.step()
    now = model.networks.encoder.to_w.weight.detach()
    keep = 0.5 ** (TINY.batch / min(100.0, 0.1 * model.images))
    assert torch.allclose(model.networks.encoder_average.to_w.weight, keep * before[0] + (1 - keep) * now, atol=1e-6)
    assert not torch.equal(before[1], now)


def test_perceptual_loss_joins_at_its_share(tmp_path: Path, faces: Faces) -> None:
    network = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    config = replace(TINY, resolution=32, first_resolution=32, feature_ramp=(0.1, 0.3))
    model = Autoencoder(config, made_up_faces(resolution=32), Likeness(network, None), "cpu", compiled=False)
    names = []
    while model.images < 16:
        names.append("features" in model.step())
    assert names == [False, False, True, True]


def test_descriptor_takes_part_in_one_batch_of_three(faces: Faces) -> None:
    class Somebody:
        def distance(self, fake: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
            return fake.square().mean((1, 2, 3))

    config = replace(TINY, feature_ramp=(-1.0, 0.0))
    model = Autoencoder(config, faces, Likeness(None, Somebody()), "cpu", compiled=False)  # type: ignore[arg-type]
    assert ["identity" in model.step() for _ in range(7)] == [True, False, False, True, False, False, True]


def test_w_gets_the_gaussian_of_the_codes(make: Callable[..., Autoencoder], faces: Faces) -> None:
    model = make()
    for _ in range(4):
        model.step()
    w = model.fit_w(np.arange(len(faces.names)))
    assert w.shape == (len(faces.names), 8)
    drawn = model.networks.generator_average.mapping(
        torch.randn(50_000, 8, generator=torch.Generator().manual_seed(0))
    )[:, 0]
    assert torch.allclose(model.networks.generator_average.w_avg, w.mean(0), atol=1e-5)
    spread = float(w.std())
    assert torch.allclose(drawn.mean(0), w.mean(0), atol=0.05 * spread)
    # z is brought to unit length: a Gaussian's covariance but for a few per cent at 8 numbers
    assert torch.allclose(drawn.T.cov(), w.T.cov(), atol=0.1 * float(w.T.cov().abs().max()))


def test_stored_crops_are_thinned_to_what_is_trained(faces: Faces) -> None:
    large = made_up_faces(resolution=128)
    model = Autoencoder(TINY, large, NOTHING, "cpu", compiled=False)
    assert model.networks.batches.pictures.shape == (24, 36, 36, 3)
    real, _ = model.networks.reconstruct(np.arange(2))
    assert real.shape == (2, 3, 16, 16)


def test_in_bfloat16_losses_are_near_and_weights_stay_float32(make: Callable[..., Autoencoder]) -> None:
    exact, rounded = (make(swap=False, bfloat16=low) for low in (False, True))
    before = weights(rounded)
    losses = [model.step()["l1"] for model in (exact, rounded)]
    assert losses[0] != losses[1] and torch.isclose(*losses, rtol=0.02)
    after = weights(rounded)
    assert {value.dtype for value in after.values()} == {torch.float32}
    for name in ("generator.synthesis_network.b4.conv1.weight", "encoder.to_w.weight"):
        assert not torch.equal(before[name], after[name]), f"{name} learns"
