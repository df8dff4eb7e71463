"""Modules as NVIDIA's pickles hold them; recorded pictures are compared by `bench parity`, see tests/pipeline."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reanimate.checkpoints.data import Converted, Module, StoredTensor
from reanimate.checkpoints.formats.nvidia import convert, feature, recognise
from reanimate.checkpoints.official import build
from reanimate.errors import ModelError
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, usual_filter
from reanimate.generators.stylegan3 import StyleGAN3, StyleGAN3Config

SMALL2 = {"resolution": 16, "channels": (6, 5, 4), "z_dim": 8, "w_dim": 7, "mapping_layers": 2}
CONFIGS2: list[dict[str, Any]] = [
    {},
    {"z_dim": 8, "w_dim": 8, "mapping_layers": 5, "mapping_features": 6, "mapping_lr_multiplier": 0.1},
    {"mapping_layers": 1, "mapping_lr_multiplier": 1.0, "mapping_activation": "linear"},
    {"c_dim": 4},
    {"c_dim": 4, "embed_features": 3},
    {"architecture": "orig"},
    {"architecture": "resnet", "conv_clamp": 256.0},
    {"use_noise": False, "activation": "relu"},
    {"kernel_size": 1},
    {"resample_taps": 3},
    {"resample_taps": 8},
    {"resolution": 32, "channels": (6, 6, 4, 4)},
]
SMALL3 = {
    "resolution": 32,
    "channels": (6, 5, 4),
    "sizes": (24, 24, 40, 32),
    "sampling_rates": (16, 16, 32, 32),
    "z_dim": 8,
    "w_dim": 7,
}
CONFIGS3: list[dict[str, Any]] = [
    {},
    {"conv_kernel": 1, "radial_layers": 2, "conv_clamp": 256.0},
    {"c_dim": 4, "mapping_layers": 3},
    {"lrelu_upsampling": 1},
    {"lrelu_upsampling": 4, "filter_size": 4, "bandwidth": 1.5, "output_scale": 1.0},
]


def stored(value: torch.Tensor) -> StoredTensor:
    return StoredTensor(tuple(value.shape), value.dtype, value.clone)


def module(attributes: dict[str, Any] | None = None) -> Module:
    return Module("Part", {"_parameters": {}, "_buffers": {}, "_modules": {}, **(attributes or {})})


def part(generator: Module, path: str) -> Module:
    """The module at a path, which is made where there is none."""
    for name in path.split(".") if path else ():
        generator = generator.state["_modules"].setdefault(name, module())
    return generator


def official(network: StyleGAN2 | StyleGAN3, fir: torch.Tensor | None = None) -> Module:
    """What the official code would have pickled of a network."""
    generator, config = module(), network.config
    parameters = {name for name, _ in network.named_parameters()}
    for name, value in network.state_dict().items():
        theirs = name.replace("_network", "")
        path, _, leaf = theirs.rpartition(".")
        if leaf != "fir":
            kind = "_parameters" if name in parameters else "_buffers"
            part(generator, path).state[kind][leaf] = stored(value)
    mapping = part(generator, "mapping")
    mapping.state["_modules"].setdefault("embed", None)
    for i in range(config.mapping_layers):
        lr = config.mapping_lr_multiplier
        layer = part(mapping, f"fc{i}")
        gain = lr / math.sqrt(config.mapping_widths[i])
        layer.state.update(activation=config.mapping_activation, bias_gain=lr, weight_gain=gain)
    if isinstance(config, StyleGAN2Config):
        add_attributes2(generator, config, usual_filter() if fir is None else fir)
    else:
        add_attributes3(generator, config)
    return generator


def add_attributes2(generator: Module, config: StyleGAN2Config, fir: torch.Tensor) -> None:
    clamp = config.conv_clamp or None
    for resolution in config.block_resolutions:
        block = part(generator, f"synthesis.b{resolution}")
        block.state["architecture"] = config.architecture
        block.state["_buffers"]["resample_filter"] = stored(fir)
        for name, child in block.state["_modules"].items():
            if name.startswith("conv"):
                child.state.update(activation=config.activation, conv_clamp=clamp, use_noise=config.use_noise)
                child.state["_buffers"]["resample_filter"] = stored(fir)
            elif name == "torgb":
                child.state["conv_clamp"] = clamp
            elif name == "skip":
                child.state["_buffers"]["resample_filter"] = stored(fir)


def add_attributes3(generator: Module, config: StyleGAN3Config) -> None:
    synthesis = part(generator, "synthesis")
    synthesis.state["output_scale"] = config.output_scale
    start = part(synthesis, "input")
    start.state.update(bandwidth=config.bandwidth, sampling_rate=float(config.sampling_rates[0]))
    start.state["size"] = stored(torch.tensor([config.sizes[0]] * 2))
    for i, name in enumerate(config.layer_names):
        sizes = config.layer(i)
        layer = part(synthesis, name)
        layer.state["_buffers"] = {"up_filter": None, "down_filter": None, **layer.state["_buffers"]}
        layer.state.update(
            up_factor=sizes.up,
            down_factor=sizes.down,
            up_taps=sizes.up_taps,
            down_taps=sizes.down_taps,
            down_radial=sizes.radial,
            padding=[*sizes.padding, *sizes.padding],
            out_sampling_rate=config.sampling_rates[i],
            conv_clamp=config.conv_clamp or None,
        )


def shaken(network: Any) -> Any:
    torch.manual_seed(3)
    for name, value in network.requires_grad_(False).state_dict().items():
        value.add_(torch.randn(value.shape))
        if "magnitude" in name:
            value.abs_()
    return network


def stylegan2(**options: Any) -> StyleGAN2:
    network: StyleGAN2 = shaken(StyleGAN2(StyleGAN2Config(**{**SMALL2, **options})))
    return network


def stylegan3(**options: Any) -> StyleGAN3:
    network: StyleGAN3 = shaken(StyleGAN3(StyleGAN3Config(**{**SMALL3, **options})))
    return network


def assert_same(converted: Converted, network: Any) -> None:
    wanted = network.state_dict()
    assert converted.weights.keys() == wanted.keys()
    assert all(torch.equal(converted.weights[name], value) for name, value in wanted.items())
    ours = build(converted, Path("network.pkl"))
    ws = torch.randn(2, network.num_ws, network.w_dim)
    assert torch.equal(ours.synthesis(ws), network.synthesis(ws))
    z = torch.randn(2, network.z_dim)
    assert torch.equal(ours.mapping(z), network.mapping(z))


@pytest.mark.parametrize("options", CONFIGS2, ids=str)
def test_stylegan2_is_read_with_all_of_its_options(options: dict[str, Any]) -> None:
    network = stylegan2(**options)
    own = network.synthesis_network.fir if "resample_taps" in options else None
    data = {"G": None, "D": module(), "G_ema": official(network, own), "augment_pipe": None}
    assert recognise(data)
    converted = convert(data)
    assert converted.family == "stylegan2"
    assert {name: getattr(converted.config, name) for name in (*SMALL2, *options)} == {
        **{name: getattr(network.config, name) for name in SMALL2},
        **options,
    }
    assert_same(converted, network)


@pytest.mark.parametrize("options", CONFIGS3, ids=str)
def test_stylegan3_is_read_with_all_of_its_options(options: dict[str, Any]) -> None:
    network = stylegan3(**options)
    data = {"G_ema": official(network)}
    assert recognise(data)
    converted = convert(data)
    assert converted.family == "stylegan3"
    assert {name: getattr(converted.config, name) for name in options} == options
    assert_same(converted, network)


def test_filter_of_one_axis_is_one_of_both() -> None:
    taps = torch.rand(8)
    network = stylegan2(resample_taps=8)
    network.synthesis_network.fir.copy_(torch.outer(taps, taps))
    assert_same(convert(official(network, taps)), network)


def test_average_goes_before_the_generator_and_a_bare_one_will_do() -> None:
    average, plain = stylegan2(), stylegan2(architecture="orig")
    assert convert({"G": official(plain), "G_ema": official(average)}).config == convert(official(average)).config
    assert convert({"G": official(plain), "G_ema": None}).config == convert(official(plain)).config


def test_mean_of_w_is_zero_where_none_was_kept() -> None:
    generator = official(stylegan2())
    del part(generator, "mapping").state["_buffers"]["w_avg"]
    assert torch.equal(convert(generator).weights["mapping_network.w_avg"], torch.zeros(7))


def test_half_precision_is_read_as_float32() -> None:
    generator = official(stylegan2())
    const = torch.randn(6, 4, 4).half()
    part(generator, "synthesis.b4").state["_parameters"]["const"] = stored(const)
    found = convert(generator).weights["synthesis_network.b4.const"]
    assert found.dtype == torch.float32
    assert torch.equal(found, const.float())


def test_other_data_are_not_recognised() -> None:
    generator = official(stylegan2())
    without = official(stylegan2())
    del without.state["_modules"]["mapping"]
    odd: list[object] = [None, 3, [], {}, [generator], {"D": generator}, {"G_ema": without}, module()]
    odd += [Module("G", {}), Module("G", {"_modules": 3}), {"G_ema": {"synthesis": generator}}]
    assert not any(recognise(data) for data in odd)
    with pytest.raises(ValueError, match="no generator"):
        convert({})


def put(path: str, name: str, value: object) -> Callable[[Module], None]:
    def change(generator: Module) -> None:
        part(generator, path).state[name] = value

    return change


def tensor(path: str, name: str, *shape: int) -> Callable[[Module], None]:
    def change(generator: Module) -> None:
        part(generator, path).state["_parameters"][name] = stored(torch.zeros(shape))

    return change


def without(path: str, name: str) -> Callable[[Module], None]:
    def change(generator: Module) -> None:
        for table in part(generator, path).state.values():
            if isinstance(table, dict):
                table.pop(name, None)
        part(generator, path).state.pop(name, None)

    return change


def other_filter(generator: Module) -> None:
    part(generator, "synthesis.b8").state["_buffers"]["resample_filter"] = stored(torch.ones(4, 4) / 16)


CHANGES2: list[tuple[Callable[[Module], None], str]] = [
    (tensor("synthesis.b8.torgb", "weight", 4, 5, 1, 1), "4 channels"),
    (tensor("synthesis.b8.conv1", "weight", 5, 5), "no conv1.weight of 4 axes"),
    (without("synthesis.b8", "conv1"), "no conv1.weight"),
    (without("synthesis", "b8"), "not those of a stylegan2"),
    (put("synthesis.b8", "architecture", "tower"), "do not agree on architecture"),
    (put("synthesis.b8.conv1", "activation", "relu"), "do not agree on activation"),
    (put("synthesis.b8.torgb", "conv_clamp", 3), "do not agree on conv_clamp"),
    (without("synthesis.b8.conv1", "conv_clamp"), "no conv_clamp"),
    (put("mapping.fc0", "bias_gain", 0.5), "do not agree on bias_gain"),
    (without("mapping", "fc0"), "not those of a stylegan2"),
    (other_filter, "do not share one"),
]
CHANGES3: list[tuple[Callable[[Module], None], str]] = [
    (tensor("synthesis.L3_32_3", "weight", 4, 4, 1, 1), "4 channels"),
    (put("synthesis.L1_24_5", "padding", [1, 1, 1, 1]), "L1_24_5 is not of the sizes"),
    (put("synthesis.L1_24_5", "up_factor", 4), "L1_24_5 is not of the sizes"),
    (put("synthesis.L2_40_4", "out_sampling_rate", 64), "not of the sizes"),
    (put("synthesis.input", "sampling_rate", 32.0), "its input"),
    (put("synthesis.input", "size", stored(torch.tensor([24, 20]))), "its input"),
    (without("synthesis", "output_scale"), "no output_scale"),
    (put("synthesis.L1_24_5", "conv_clamp", 3), "do not agree on conv_clamp"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES2, ids=lambda value: value if isinstance(value, str) else "")
def test_odd_stylegan2_is_refused(change: Callable[[Module], None], reason: str) -> None:
    generator = official(stylegan2())
    change(generator)
    with pytest.raises((ValueError, ModelError), match=reason):
        build(convert(generator), Path("network.pkl"))


@pytest.mark.parametrize(("change", "reason"), CHANGES3, ids=lambda value: value if isinstance(value, str) else "")
def test_odd_stylegan3_is_refused(change: Callable[[Module], None], reason: str) -> None:
    generator = official(stylegan3())
    change(generator)
    with pytest.raises(ValueError, match=reason):
        convert(generator)


@pytest.mark.parametrize("activation", ["sine", 3, None])
def test_unknown_activation_is_refused(activation: object) -> None:
    generator = official(stylegan2(mapping_layers=1))
    put("mapping.fc0", "activation", activation)(generator)
    with pytest.raises(ValueError, match=r"activation '.*' is not known"):
        convert(generator)


def test_generator_of_another_kind_is_refused() -> None:
    generator = official(stylegan2())
    blocks = part(generator, "synthesis").state["_modules"]
    part(generator, "synthesis").state["_modules"] = {f"x{name}": block for name, block in blocks.items()}
    with pytest.raises(ValueError, match="neither a StyleGAN2 nor a StyleGAN3"):
        convert(generator)
    part(generator, "mapping").state["_modules"].clear()
    with pytest.raises(ValueError, match="no layers"):
        convert(generator)


@pytest.mark.parametrize("name", ["synthesis.b8.conv0.weight", "mapping.fc1.bias", "synthesis.b4.const"])
@pytest.mark.parametrize("kind", ["missing", "other shape", "more"])
def test_tensors_that_do_not_fit_are_left_for_the_network_to_refuse(name: str, kind: str) -> None:
    generator = official(stylegan2())
    path, _, leaf = name.rpartition(".")
    table = part(generator, path).state["_parameters"]
    if kind == "missing":
        del table[leaf]
    else:
        table[leaf if kind == "other shape" else "more"] = stored(torch.zeros(2, 3))
    with pytest.raises(ModelError, match=r"not those of a stylegan2|fewer than its sizes"):
        build(convert(generator), Path("network.pkl"))


@pytest.mark.parametrize(
    ("family", "name", "path"),
    [
        ("stylegan2", "b8_x", ("synthesis_network.b8", 0)),
        ("stylegan2", "b1024_img", ("synthesis_network.b1024", 1)),
        ("stylegan3", "input", ("synthesis_network.input", None)),
        ("stylegan3", "L3_36_24", ("synthesis_network.L3_36_24", None)),
    ],
)
def test_features_are_found_by_their_recorded_names(family: str, name: str, path: tuple[str, int | None]) -> None:
    assert feature(family, name) == path


@pytest.mark.parametrize(
    ("family", "name"),
    [("stylegan2", "input"), ("stylegan2", "b8"), ("stylegan2", "b8_y"), ("stylegan3", "b8_x"), ("stylegan3", "L3")],
)
def test_unknown_feature_is_an_error(family: str, name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{family} has no feature {name!r}")):
        feature(family, name)
