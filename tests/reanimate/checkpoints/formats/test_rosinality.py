"""StyleGAN2 under rosinality's names; recorded pictures are compared by `bench parity`, see tests/pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SHARED
from torch.nn import functional

from reanimate.checkpoints.bundle import load_bundle
from reanimate.checkpoints.data import StoredTensor
from reanimate.checkpoints.formats.rosinality import convert, export, feature, recognise
from reanimate.checkpoints.official import build, open_official
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import MediaError, ModelError
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config

CHECKPOINTS = sorted((SHARED / "parity" / "rosinality").glob("*/checkpoint.pt"))
SMALL = {"resolution": 16, "channels": (6, 5, 4), "z_dim": 8, "w_dim": 8, "mapping_layers": 3}
SHAPES_AT_8_PX = {  # of a Generator(8, 6, 2) whose table has 5 channels at 4 px and 4 at 8 px
    "style.1.weight": (6, 6), "style.1.bias": (6,), "style.2.weight": (6, 6), "style.2.bias": (6,),
    "input.input": (1, 5, 4, 4),
    "conv1.conv.weight": (1, 5, 5, 3, 3), "conv1.conv.modulation.weight": (5, 6), "conv1.conv.modulation.bias": (5,),
    "conv1.noise.weight": (1,), "conv1.activate.bias": (5,),
    "to_rgb1.bias": (1, 3, 1, 1), "to_rgb1.conv.weight": (1, 3, 5, 1, 1),
    "to_rgb1.conv.modulation.weight": (5, 6), "to_rgb1.conv.modulation.bias": (5,),
    "convs.0.conv.weight": (1, 4, 5, 3, 3), "convs.0.conv.blur.kernel": (4, 4),
    "convs.0.conv.modulation.weight": (5, 6), "convs.0.conv.modulation.bias": (5,),
    "convs.0.noise.weight": (1,), "convs.0.activate.bias": (4,),
    "convs.1.conv.weight": (1, 4, 4, 3, 3),
    "convs.1.conv.modulation.weight": (4, 6), "convs.1.conv.modulation.bias": (4,),
    "convs.1.noise.weight": (1,), "convs.1.activate.bias": (4,),
    "to_rgbs.0.bias": (1, 3, 1, 1), "to_rgbs.0.upsample.kernel": (4, 4), "to_rgbs.0.conv.weight": (1, 3, 4, 1, 1),
    "to_rgbs.0.conv.modulation.weight": (4, 6), "to_rgbs.0.conv.modulation.bias": (4,),
    "noises.noise_0": (1, 1, 4, 4), "noises.noise_1": (1, 1, 8, 8), "noises.noise_2": (1, 1, 8, 8),
}  # fmt: skip


def stored(value: torch.Tensor) -> StoredTensor:
    return StoredTensor(tuple(value.shape), value.dtype, value.clone)


def checkpoint(**more: object) -> dict[str, Any]:
    torch.manual_seed(0)
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16
    tensors = {name: torch.randn(shape) for name, shape in SHAPES_AT_8_PX.items()}
    tensors |= {name: kernel for name in tensors if name.endswith("kernel")}
    return {"g_ema": {name: stored(value) for name, value in tensors.items()}, **more}


def shaken(**options: Any) -> StyleGAN2:
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(**{**SMALL, **options})).requires_grad_(False)
    for value in network.state_dict().values():
        value.add_(torch.randn(value.shape))
    return network


def returned(network: StyleGAN2, path: Path) -> StyleGAN2:
    export(network.config, network.state_dict(), path)
    again: StyleGAN2 = build(open_official(path), path)
    return again


def test_sizes_are_read_and_every_tensor_finds_its_place() -> None:
    data = checkpoint()
    assert recognise(data)
    converted = convert(data)
    assert converted.family == "stylegan2"
    assert converted.config == StyleGAN2Config(8, (5, 4), z_dim=6, w_dim=6, mapping_layers=2)
    weights, theirs = converted.weights, {name: value.read() for name, value in data["g_ema"].items()}
    assert torch.equal(weights["mapping_network.fc1.bias"], theirs["style.2.bias"])
    for ours, name in [
        ("b4.const", "input.input"),
        ("b4.conv1.affine.weight", "conv1.conv.modulation.weight"),
        ("b4.torgb.weight", "to_rgb1.conv.weight"),
        ("b8.conv0.weight", "convs.0.conv.weight"),
        ("b8.conv1.bias", "convs.1.activate.bias"),
        ("b8.conv1.noise_strength", "convs.1.noise.weight"),
        ("b8.torgb.bias", "to_rgbs.0.bias"),
        ("b4.conv1.noise_const", "noises.noise_0"),
        ("b8.conv0.noise_const", "noises.noise_1"),
        ("b8.conv1.noise_const", "noises.noise_2"),
    ]:
        assert torch.equal(weights[f"synthesis_network.{ours}"].flatten(), theirs[name].flatten())
    build(converted, Path("checkpoint.pt"))


def published_mapping(tensors: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """Their mapping network's sums."""
    x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for i in range(1, sum(re.fullmatch(r"style\.\d+\.bias", name) is not None for name in tensors) + 1):
        weight, bias = tensors[f"style.{i}.weight"], tensors[f"style.{i}.bias"]
        x = functional.leaky_relu(x @ (weight * (0.01 / x.shape[1] ** 0.5)).T + bias * 0.01, 0.2) * 2**0.5
    return x


def test_mapping_has_the_gain_that_their_code_fixes() -> None:
    data = checkpoint()
    network = build(convert(data), Path("checkpoint.pt"))
    z = torch.randn(3, 6)
    wanted = published_mapping({name: value.read() for name, value in data["g_ema"].items()}, z)
    assert torch.allclose(network.mapping(z)[:, 0], wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (1, 6)])
def test_mean_of_w_is_read_and_zero_where_there_is_none(shape: tuple[int, ...]) -> None:
    average = torch.randn(shape)
    found = convert(checkpoint(latent_avg=stored(average))).weights["mapping_network.w_avg"]
    assert torch.equal(found, average.view(6))
    assert torch.equal(convert(checkpoint(args={}, g={}, d={})).weights["mapping_network.w_avg"], torch.zeros(6))


def test_other_filter_is_kept_without_its_gain() -> None:
    data, taps = checkpoint(), torch.tensor([1.0, 2.0, 1.0])
    kernel = torch.outer(taps, taps) / 4
    data["g_ema"] |= {name: stored(kernel) for name in data["g_ema"] if name.endswith("kernel")}
    converted = convert(data)
    assert converted.config.resample_taps == 3  # type: ignore[attr-defined]
    assert torch.allclose(converted.weights["synthesis_network.fir"].sum(), torch.tensor(1.0))
    build(converted, Path("checkpoint.pt"))


def test_other_data_are_not_recognised() -> None:
    table = checkpoint()["g_ema"]
    odd: list[object] = [None, 3, [], {}, {"g_ema": None}, {"g_ema": {}}, {"g_ema": {1: 2}}, {"g": table}, table]
    assert not any(recognise(data) for data in odd)
    with pytest.raises(ValueError, match="no generator"):
        convert({})


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("convs.0.activate.bias", None, "convs.0.activate.bias is missing"),
        ("noises.noise_2", None, "noises.noise_2 is missing"),
        ("to_rgbs.0.bias", (1, 3), "not those of a stylegan2"),
        ("input.input", (2, 5, 4, 4), "not those of a stylegan2"),
        ("convs.0.conv.weight", (1, 4, 6, 3, 3), "not those of a stylegan2"),
        ("convs.1.conv.weight", (4, 4, 3, 3), "as many axes"),
        ("style.1.weight", (6,), "as many axes"),
        ("style.2.weight", (6, 5), "not those of a stylegan2"),
        ("convs.0.conv.blur.kernel", (4, 4), "do not share one"),
        ("encoder.weight", (3, 3), "it has 'encoder.weight'"),
    ],
)
def test_odd_tensors_are_an_error(name: str, shape: tuple[int, ...] | None, reason: str) -> None:
    data = checkpoint()
    if shape is None:
        del data["g_ema"][name]
    else:
        data["g_ema"][name] = stored(torch.zeros(shape))
    with pytest.raises((ValueError, ModelError), match=reason):
        build(convert(data), Path("checkpoint.pt"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mapping_layers": 8},
        {"mapping_layers": 2},
        {"mapping_layers": 9},
        {"mapping_lr_multiplier": 1.0},
        {"mapping_lr_multiplier": 1.0, "mapping_activation": "linear", "mapping_layers": 1},
        {"mapping_activation": "linear", "mapping_layers": 5},
        {"use_noise": False},
    ],
    ids=str,
)
def test_exported_network_draws_the_same_pictures_from_the_same_z(options: dict[str, Any], tmp_path: Path) -> None:
    network = shaken(**options)
    again = returned(network, tmp_path / "network.pt")
    ws, z = torch.randn(2, 6, 8), torch.randn(4, 8)
    for noise_mode in ("const", "none"):
        assert torch.equal(again.synthesis(ws, noise_mode), network.synthesis(ws, noise_mode))
    codes = network.mapping(z)
    assert torch.allclose(again.mapping(z), codes, atol=1e-5 * float(codes.abs().max()))
    assert torch.equal(again.w_avg, network.w_avg)
    layers = network.config.mapping_layers * (2 if network.config.mapping_activation == "linear" else 1)
    wanted = layers if layers > 8 or layers % 2 else 8
    assert again.config.mapping_layers == wanted


def test_their_own_sums_take_the_exported_mapping_to_the_same_codes(tmp_path: Path) -> None:
    network = shaken(mapping_lr_multiplier=1.0, mapping_activation="linear", mapping_layers=1)
    export(network.config, network.state_dict(), tmp_path / "network.pt")
    tensors = torch.load(tmp_path / "network.pt", weights_only=True)["g_ema"]
    z = torch.randn(4, 8)
    assert torch.allclose(published_mapping(tensors, z), network.mapping(z)[:, 0], atol=1e-4)


def test_exported_file_has_exactly_what_their_class_loads(tmp_path: Path) -> None:
    network = StyleGAN2(StyleGAN2Config(8, (5, 4), z_dim=6, w_dim=6, mapping_layers=9))
    export(network.config, network.state_dict(), tmp_path / "network.pt")
    data = torch.load(tmp_path / "network.pt", weights_only=True)
    assert data.keys() == {"g_ema", "latent_avg"}
    found = {name: tuple(value.shape) for name, value in data["g_ema"].items()}
    mapping = {name for name in found if name.startswith("style.")}
    assert mapping == {f"style.{i}.{part}" for i in range(1, 10) for part in ("weight", "bias")}
    assert found == SHAPES_AT_8_PX | {name: found[name] for name in mapping}
    assert data["latent_avg"].shape == (6,)
    assert data["g_ema"]["to_rgbs.0.upsample.kernel"].sum() == 4


def test_exported_tensors_share_no_memory(tmp_path: Path) -> None:
    network = shaken(mapping_layers=2)
    export(network.config, network.state_dict(), tmp_path / "network.pt")
    tensors = torch.load(tmp_path / "network.pt", weights_only=True)["g_ema"].values()
    assert len({value.data_ptr() for value in tensors}) == len(tensors)


def test_embedded_model_goes_out_and_comes_back(tmp_path: Path) -> None:
    network = load_bundle("faces").generator
    assert isinstance(network, StyleGAN2)
    again = returned(network, tmp_path / "faces.pt")
    ws, z = torch.randn(1, network.num_ws, network.w_dim), torch.randn(2, network.z_dim)
    assert torch.equal(again.synthesis(ws), network.synthesis(ws))
    assert torch.allclose(again.mapping(z), network.mapping(z), atol=2e-5)
    assert again.config.mapping_layers == 8


@pytest.mark.skipif(not CHECKPOINTS, reason="../shared/parity is not beside this checkout")
@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.parent.name)
def test_their_own_files_come_back_bit_for_bit(path: Path, tmp_path: Path) -> None:
    converted = open_official(path)
    assert isinstance(converted.config, StyleGAN2Config)
    export(converted.config, converted.weights, tmp_path / "again.pt")
    data = read_checkpoint(path)
    assert isinstance(data, dict)
    again = torch.load(tmp_path / "again.pt", weights_only=True)["g_ema"]
    assert again.keys() == data["g_ema"].keys()
    assert all(torch.equal(again[name], value.read()) for name, value in data["g_ema"].items())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"architecture": "resnet"}, "architecture resnet"),
        ({"activation": "relu"}, "activation relu"),
        ({"c_dim": 2}, "c_dim 2"),
        ({"kernel_size": 1}, "kernel_size 1"),
        ({"resample_taps": 4}, "resample_taps 4"),
        ({"z_dim": 9}, "one width"),
        ({"mapping_features": 9}, "one width"),
        ({"mapping_activation": "tanh"}, "activation tanh"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_their_code_cannot_draw_is_not_exported(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    network = shaken(**options)
    with pytest.raises(ModelError, match=reason):
        export(network.config, network.state_dict(), tmp_path / "network.pt")
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    network = shaken()
    with pytest.raises(MediaError, match="cannot write"):
        export(network.config, network.state_dict(), tmp_path / "nowhere" / "network.pt")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("conv1", ("synthesis_network.b4.conv1", None)),
        ("convs.0", ("synthesis_network.b8.conv0", None)),
        ("convs.5", ("synthesis_network.b32.conv1", None)),
        ("to_rgb1", ("synthesis_network.b4", 1)),
        ("to_rgbs.0", ("synthesis_network.b8", 1)),
        ("to_rgbs.3", ("synthesis_network.b64", 1)),
    ],
)
def test_features_are_found_by_their_names(name: str, path: tuple[str, int | None]) -> None:
    assert feature("stylegan2", name) == path


@pytest.mark.parametrize(
    ("family", "name"), [("stylegan3", "conv1"), ("stylegan2", "convs"), ("stylegan2", "style.1"), ("stylegan2", "")]
)
def test_unknown_feature_is_an_error(family: str, name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{family} has no feature {name!r}")):
        feature(family, name)


def test_training_form_is_read_without_what_trained_it() -> None:
    read: list[str] = []

    def watch(name: str) -> Callable[[], torch.Tensor]:
        def look() -> torch.Tensor:
            read.append(name)
            return torch.zeros(3)

        return look

    other = {"conv1.conv.weight": StoredTensor((3,), torch.float32, watch("d"))}
    convert(checkpoint(g=other, d=other, g_optim={"state": other}, ada_aug_p=0.0))
    assert not read
