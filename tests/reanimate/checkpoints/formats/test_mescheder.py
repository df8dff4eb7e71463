"""Checkpoints of GAN_stability in every variant; pictures are compared by `bench parity`, see tests/pipeline."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from reanimate.checkpoints.data import StoredTensor
from reanimate.checkpoints.formats.mescheder import convert, feature, recognise
from reanimate.generators.mescheder import Mescheder, MeschederConfig, Variant

CONFIGS = [
    MeschederConfig(16, (6, 4, 4, 2), "resnet", 8, 1),
    MeschederConfig(16, (4, 6, 6), "resnet", 8, 3, c_dim=5),
    MeschederConfig(32, (4, 4, 4, 4, 4, 4, 2), "resnet2", 8, 2),
    MeschederConfig(64, (4, 4, 4, 4, 4, 4, 2), "resnet3", 8, 2),
    MeschederConfig(128, (4, 4, 4, 4, 4, 4, 4, 2), "resnet4", 8, 2),
]


def stored(value: torch.Tensor) -> StoredTensor:
    return StoredTensor(tuple(value.shape), value.dtype, value.clone)


def official_name(name: str, variant: Variant) -> str:
    if variant == "resnet":
        return re.sub(r"stages\.(\d)\.0", lambda found: f"resnet.{2 * int(found[1])}", name)
    return re.sub(r"stages\.(\d)\.(\d)", r"resnet_\1_\2", name)


def checkpoint(network: Mescheder, prefix: str = "module.") -> dict[str, Any]:
    state = network.state_dict()
    names = {prefix + official_name(name, network.config.variant): stored(value) for name, value in state.items()}
    return {"it": 3, "generator_test": names}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.variant} {config.c_dim}")
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_every_variant_is_told_by_its_names(config: MeschederConfig, prefix: str) -> None:
    network = Mescheder(config)
    data = checkpoint(network, prefix)
    assert recognise(data)
    converted = convert(data)
    assert (converted.family, converted.config) == ("mescheder", config)
    assert converted.weights.keys() == network.state_dict().keys()
    assert all(torch.equal(converted.weights[name], value) for name, value in network.state_dict().items())


def test_average_goes_before_the_generator_and_the_generator_before_nothing() -> None:
    average, plain = Mescheder(CONFIGS[0]), Mescheder(CONFIGS[0])
    data = checkpoint(average) | {"generator": checkpoint(plain)["generator_test"]}
    assert torch.equal(convert(data).weights["fc.weight"], average.fc.weight)
    del data["generator_test"]
    assert torch.equal(convert(data).weights["fc.weight"], plain.fc.weight)


def test_discriminator_and_other_data_are_not_recognised() -> None:
    table = checkpoint(Mescheder(CONFIGS[0]))["generator_test"]
    without = {name: value for name, value in table.items() if "embedding" not in name}
    odd = [None, 3, [], {}, {"generator": 3}, {"generator": {}}, {"generator": {1: 2}}, {"discriminator": table}]
    assert not any(recognise(data) for data in [*odd, {"generator": without}, {"generator": dict.fromkeys(table)}])


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("resnet.2.conv_0.weight", None, None),
        ("resnet.2.conv_1.weight", None, "is missing"),
        ("resnet.2.conv_1.weight", (4, 4), "4 axes"),
        ("resnet.9.conv_1.weight", (4, 4, 3, 3), "blocks"),
        ("fc.weight", (97, 9), "no square"),
        ("fc.weight", (97,), "2 axes"),
        ("resnet.0.conv_0.weight", (6, 0, 3, 3), "no square"),
    ],
)  # fmt: skip
def test_odd_tensors_are_an_error_or_left_for_the_network_to_refuse(
    name: str, shape: tuple[int, ...] | None, reason: str | None
) -> None:
    data = checkpoint(Mescheder(CONFIGS[0]), "")
    table = data["generator_test"]
    if shape is None:
        del table[name]
    else:
        table[name] = stored(torch.zeros(shape))
    if reason is None:
        assert "stages.1.0.conv_0.weight" not in convert(data).weights
        return
    with pytest.raises(ValueError, match=reason):
        convert(data)


@pytest.mark.parametrize(
    ("name", "path"),
    [("fc", "fc"), ("conv_img", "conv_img"), ("4", "stages.2.0"), ("resnet_3_1", "stages.3.1")],
)
def test_features_are_found_by_their_official_names(name: str, path: str) -> None:
    assert feature("mescheder", name) == (path, None)


@pytest.mark.parametrize("name", ["", "embedding", "resnet", "conv1", "resnet_1", "x/../y"])
def test_unknown_feature_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="no feature"):
        feature("mescheder", name)
