from __future__ import annotations

import urllib.error
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchvision.models import alexnet
from torchvision.models.vgg import cfgs, make_layers

from reanimate import metrics
from reanimate.errors import WeightsUnavailable
from reanimate.metrics import LpipsNet, lpips_distance


def trunk(net: str) -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names."""
    torch.manual_seed(0)
    layers = alexnet().features if net == "alex" else make_layers(cfgs["D"])
    return {f"features.{name}": value for name, value in layers.state_dict().items()}


@pytest.fixture
def no_lpips_kept() -> Iterator[None]:
    metrics._lpips_network.cache_clear()
    yield
    metrics._lpips_network.cache_clear()


@pytest.mark.parametrize("net", ["alex", "vgg"])
@pytest.mark.usefixtures("no_lpips_kept")
def test_lpips_is_the_packages_own_with_torchvisions_trunk(monkeypatch: pytest.MonkeyPatch, net: LpipsNet) -> None:
    state = trunk(net)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: state)
    a, b = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    network = metrics._lpips_network(net)
    for name, value in network.net.state_dict().items():
        assert torch.equal(value, state[f"features.{name.partition('.')[2]}"])
    with torch.no_grad():
        wanted = float(network(*(torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (a, b))))
    assert lpips_distance(a, b, net) == pytest.approx(wanted, rel=1e-4)
    assert lpips_distance(a, b, net) > 0.01
    assert lpips_distance(a, a, net) == 0
    assert lpips_distance(a[:16, :16], b[:16, :16], net) > 0, "small pictures are enlarged"


@pytest.mark.usefixtures("no_lpips_kept")
def test_lpips_without_its_trunk_is_one_line_that_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(WeightsUnavailable, match=r"LPIPS with alex: .* https://.*alexnet"):
        lpips_distance(picture, picture)


def test_lpips_of_two_sizes_is_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        lpips_distance(np.zeros((64, 64, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
