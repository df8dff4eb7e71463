from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHARED, squeezenet_file, squeezenet_weights
from torch.nn import functional
from torchvision.models import squeezenet1_1
from torchvision.models.vgg import cfgs, make_layers

from reanimate.errors import MediaError, WeightsUnavailable
from reanimate.inversion.features import SqueezeNetFeatures, VGG16Features, feature_distance, picture_distances
from reanimate.inversion.losses import make_loss

WEIGHTS = SHARED / "metrics" / "squeezenet1_1_imagenet.npz"


def pictures(side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return squeezenet_weights()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> SqueezeNetFeatures:
    return SqueezeNetFeatures(squeezenet_file(tmp_path_factory.mktemp("weights") / "squeezenet.npz"))


def test_squeezenet_is_torchvisions_trunk(network: SqueezeNetFeatures, weights: dict[str, np.ndarray]) -> None:
    """Same layers and pooling but for the pooling's ceil_mode, which at 63 px makes no difference."""
    trunk = squeezenet1_1(weights=None).features.eval()
    fires = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
    state = {}
    for name, value in weights.items():
        layer, _, rest = name.partition(".")
        index = 0 if layer == "conv1" else fires[int(layer.removeprefix("fire"))]
        state[f"{index}.{rest.replace('squeeze1x1', 'squeeze')}"] = torch.from_numpy(value)
    trunk.load_state_dict(state)
    x = (pictures(63) + 1) * 127.5 - torch.tensor([122.679, 116.669, 104.006]).view(1, 3, 1, 1)
    wanted = []
    with torch.no_grad():
        for index, layer in enumerate(trunk):
            x = layer(x)
            if index in (1, 4, 7, 9, 10, 11, 12):
                wanted.append(x.clone())
        made = network(pictures(63))
    assert [m.shape for m in made] == [m.shape for m in wanted]
    for a, b in zip(made, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def test_squeezenet_weights_are_not_trained_and_not_saved(network: SqueezeNetFeatures) -> None:
    assert not list(network.parameters()) and not network.state_dict()


def test_distance_of_equal_pictures_is_zero(network: SqueezeNetFeatures) -> None:
    maps = network(pictures())
    assert not feature_distance(maps, maps).any()


def test_distance_is_per_picture_symmetric_and_positive(network: SqueezeNetFeatures) -> None:
    a, b = network(pictures()), network(pictures().flip(0))
    distance = feature_distance(a, b)
    assert distance.shape == (2,) and (distance > 0).all()
    assert torch.allclose(distance, feature_distance(b, a))


def test_distance_is_the_cosine_gap_at_every_position_summed_over_layers(network: SqueezeNetFeatures) -> None:
    a, b = network(pictures()), network(pictures().flip(0))
    wanted = sum(2 - 2 * functional.cosine_similarity(x, y, dim=1).mean((1, 2)) for x, y in zip(a, b, strict=True))
    assert torch.allclose(feature_distance(a, b), wanted, atol=1e-4)


def test_distance_ignores_how_strong_features_are(network: SqueezeNetFeatures) -> None:
    maps = network(pictures())
    assert feature_distance(maps, [3 * m for m in maps]).max() < 1e-5


def test_gradient_of_the_distance_is_finite_even_where_features_are_dead(network: SqueezeNetFeatures) -> None:
    x = pictures().requires_grad_(True)
    feature_distance([m * (m > m.mean()) for m in network(x)], network(pictures().flip(0))).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_missing_weights_file_is_one_line_of_error(tmp_path: Path) -> None:
    for content in (None, b"", b"hello", b"PK\x03\x04"):
        path = tmp_path / "weights.npz"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(MediaError) as caught:
            SqueezeNetFeatures(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("change", ["missing", "shape", "type"])
def test_other_weights_are_one_line_of_error(tmp_path: Path, weights: dict[str, np.ndarray], change: str) -> None:
    name = "fire5.squeeze1x1.weight"
    other: dict[str, Any] = dict(weights)
    if change == "missing":
        del other[name]
    else:
        other[name] = weights[name][:, :3] if change == "shape" else np.array("text")
    np.savez(tmp_path / "weights.npz", **other)
    with pytest.raises(MediaError) as caught:
        SqueezeNetFeatures(tmp_path / "weights.npz")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="../shared/metrics is not beside this checkout")
def test_trained_weights_see_that_blur_is_not_the_picture() -> None:
    network = SqueezeNetFeatures(WEIGHTS)
    x = functional.interpolate(pictures(16), size=64, mode="nearest")
    slight = feature_distance(network(x + 0.01), network(x))
    blurred = feature_distance(network(functional.avg_pool2d(x, 9, 1, 4)), network(x))
    assert (slight < 0.1 * blurred).all()


def vgg_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {f"features.{name}": value for name, value in make_layers(cfgs["D"]).state_dict().items()}


def test_vgg_features_are_the_papers_layers_before_their_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    state = vgg_state()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: state)
    trunk = make_layers(cfgs["D"])
    trunk.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = functional.interpolate(((pictures(16)[:1] + 1) / 2 - mean) / std, size=256, mode="nearest")
    wanted = []
    with torch.no_grad():
        for index, layer in enumerate(trunk):
            x = layer(x)
            if index in (2, 7, 14, 21, 28):  # conv1_2, conv2_2, conv3_3, conv4_3, conv5_3
                wanted.append(x.clone())  # the ReLU that follows works in place
        made = VGG16Features()(pictures(16)[:1])
    assert [tuple(m.shape[1:]) for m in made] == [
        (64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (512, 16, 16),
    ]  # fmt: skip
    for a, b in zip(made, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize(
    "reason",
    [
        urllib.error.URLError("no route to host"),
        TimeoutError(),
        RuntimeError("invalid hash value (expected x,\ngot y)"),
        ConnectionResetError("reset"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_vgg_that_cannot_be_fetched_is_one_line_that_names_its_address(
    monkeypatch: pytest.MonkeyPatch, reason: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise reason

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsUnavailable) as caught:
        make_loss("vgg16")
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.url.startswith("https://") and caught.value.url in str(caught.value)


def test_distances_of_pictures_do_not_depend_on_the_batch(network: SqueezeNetFeatures) -> None:
    a, b = np.random.default_rng(0).integers(0, 256, (2, 5, 64, 64, 3), np.uint8)
    found = picture_distances(a, b, network, batch=2)
    np.testing.assert_allclose(found, picture_distances(a, b, network, batch=5), rtol=1e-4)
    assert found.shape == (5,) and (found > 0).all()
    assert not picture_distances(a, a, network).any()
