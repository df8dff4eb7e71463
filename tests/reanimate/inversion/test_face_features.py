"""A bundle's own perceptual features and the loss that is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.checkpoints.bundle import load_bundle, save_bundle
from reanimate.inversion.features import WINDOW_SIDE, FaceFeatures, FaceFeaturesConfig, face_distance
from reanimate.inversion.losses import FaceLoss, MultiScaleLoss, make_loss


@pytest.fixture
def network() -> FaceFeatures:
    torch.manual_seed(0)
    return FaceFeatures(FaceFeaturesConfig()).eval().requires_grad_(False)


def centred(network: FaceFeatures) -> None:
    """A window that counts the middle alone."""
    network.window.zero_()
    third = WINDOW_SIDE // 3
    network.window[:, :, third:-third, third:-third] = 1


def test_they_take_less_than_4_mib(network: FaceFeatures) -> None:
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 4 << 20


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_four_maps_of_any_usual_size(network: FaceFeatures, resolution: int) -> None:
    maps = network(torch.rand(2, 3, resolution, resolution))
    assert [x.shape[1] for x in maps] == list(network.config.outputs)
    assert float(face_distance(maps, maps).sum()) == 0


def test_loss_is_nothing_at_its_target_and_rises_away_from_it(network: FaceFeatures) -> None:
    loss, target = FaceLoss(network), torch.rand(2, 3, 32, 32) * 2 - 1
    prepared = loss.prepare(target)
    assert torch.equal(loss(target, prepared), torch.zeros(2))
    near, far = (loss(target + step * torch.randn_like(target), prepared) for step in (0.05, 0.5))
    assert (near > 0).all() and (near < far).all()


def test_each_picture_of_a_batch_has_its_own_loss(network: FaceFeatures) -> None:
    loss, target = FaceLoss(network), torch.rand(2, 3, 32, 32)
    shown = target.clone()
    shown[1] += 0.3
    alone = loss(shown[1:], loss.prepare(target[1:]))
    both = loss(shown, loss.prepare(target))
    assert both[0] == 0 and torch.allclose(both[1:], alone, rtol=1e-4)


def test_outside_the_window_nothing_counts(network: FaceFeatures) -> None:
    centred(network)
    loss, target = FaceLoss(network), torch.rand(1, 3, 64, 64)
    edge, middle = target.clone(), target.clone()
    edge[:, :, :8] += 0.5
    middle[:, :, 28:36] += 0.5
    prepared = loss.prepare(target)
    assert float(loss(edge, prepared)) < 0.02 * float(loss(middle, prepared))


def test_on_faces_maps_hold_nothing_around_them_and_pixels_weigh_as_before(network: FaceFeatures) -> None:
    network.window.fill_(0.5)
    third = WINDOW_SIDE // 3
    network.window[:, :, third:-third, third:-third] = 2
    faces, pictures = network.on_faces(), torch.rand(1, 3, 128, 128)
    for whole, part in zip(network(pictures), faces(pictures), strict=True):
        side = whole.shape[-1]
        edge, face = slice(0, side // 4), network.window_at(side)[0, 0] == network.window_at(side).max()
        assert whole[..., edge, :].abs().max() > 0 and part[..., edge, :].abs().max() == 0
        assert torch.allclose(part[..., face], whole[..., face])
    assert torch.equal(faces.window_at(64), network.window_at(64))


def test_even_window_sees_faces_everywhere(network: FaceFeatures) -> None:
    pictures = torch.rand(1, 3, 32, 32)
    assert face_distance(network(pictures), network.on_faces()(pictures)) == 0


def test_even_window_leaves_pixels_as_they_are() -> None:
    loss, target, shown = MultiScaleLoss(), torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    even = torch.ones(1, 1, 32, 32)
    assert torch.allclose(loss(shown, loss.prepare(target, even)), loss(shown, loss.prepare(target)))


def test_bundle_keeps_them(network: FaceFeatures, tmp_path: Path) -> None:
    generator = tiny_generator()
    bare = save_bundle(tmp_path / "bare", "m", generator, tiny_encoder(generator), {}, {}, "MIT")
    card = save_bundle(tmp_path / "own", "m", generator, tiny_encoder(generator), {}, {}, "MIT", features=network)
    assert card.digest != bare.digest  # another default loss gives other codes
    loaded = load_bundle(str(tmp_path / "own")).features
    assert loaded is not None and load_bundle(str(tmp_path / "bare")).features is None
    pictures = torch.rand(1, 3, 32, 32)
    assert face_distance(loaded(pictures), network(pictures)).item() < 1e-3
    assert isinstance(make_loss("features", own=loaded), FaceLoss)


def test_loss_of_their_name_needs_them() -> None:
    with pytest.raises(ValueError, match="features"):
        make_loss("features")
