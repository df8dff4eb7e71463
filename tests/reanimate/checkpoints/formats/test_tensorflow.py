"""Generators of the TensorFlow code bases in every option; recorded pictures are compared in tests/pipeline too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tensorflow_networks import (
    DLATENT,
    LATENT,
    draw_pggan,
    draw_stylegan,
    fmaps,
    latent_size,
    map_stylegan,
    pggan,
    stored,
    stylegan,
)

from reanimate.checkpoints.data import Converted, Network
from reanimate.checkpoints.formats.tensorflow import convert, feature, recognise
from reanimate.generators.pggan import PGGAN
from reanimate.generators.stylegan1 import StyleGAN1, StyleGAN1Config

Z = np.random.default_rng(5).standard_normal((2, LATENT))
LABELS = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

PGGAN_OPTIONS: list[dict[str, Any]] = [
    {},
    {"fused_scale": False},
    {"label_size": 3},
    {"use_wscale": False},
    {"normalize_latents": False},
    {"use_pixelnorm": False, "use_leakyrelu": False},
    {"pixelnorm_epsilon": 0.3},
    {"lod": 0.3},
    {"lod": 1.0},
    {"lod": 1.25},
    {"lod": 2.0, "fused_scale": False},
]
STYLEGAN_OPTIONS: list[dict[str, Any]] = [
    {},
    {"fused_scale": True},
    {"fused_scale": False},
    {"label_size": 3},
    {"use_wscale": False, "mapping_lrmul": 1.0},
    {"mapping_layers": 3, "mapping_lrmul": 0.5, "mapping_nonlinearity": "relu", "normalize_latents": False},
    {"mapping_layers": 1},
    {"mapping_layers": 0},
    {"mapping_layers": 0, "label_size": 3},
    {"nonlinearity": "relu", "use_pixel_norm": True},
    {"use_instance_norm": False},
    {"use_noise": False},
    {"blur_filter": None, "fused_scale": True},
    {"blur_filter": [1, 3, 3, 1]},
    {"blur_filter": [1, 4, 6, 4, 1]},
    {"blur_filter": [1.0, 3.0]},
    {"const_input_layer": False},
    {"const_input_layer": False, "use_styles": False, "use_pixel_norm": True, "use_instance_norm": False},
    {"const_input_layer": False, "use_styles": False},
    {"structure": "fixed"},
    {"structure": "linear", "lod": 0.3},
    {"lod": 1.0},
    {"lod": 1.25},
    {"lod": 2.0},
]


def load(converted: Converted) -> Any:
    types: dict[str, Callable[[Any], torch.nn.Module]] = {"pggan": PGGAN, "stylegan1": StyleGAN1}
    generator = types[converted.family](converted.config)
    generator.load_state_dict(converted.weights)
    return generator.double().eval().requires_grad_(False)  # so that formulas are compared, and not roundings


def tensor(value: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(value).double()


def classes(options: dict[str, Any]) -> tuple[np.ndarray, torch.Tensor | None]:
    return (LABELS, tensor(LABELS)) if options.get("label_size") else (LABELS[:, :0], None)


@pytest.mark.parametrize("options", PGGAN_OPTIONS, ids=str)
def test_progressive_growing_draws_by_the_official_formulas(options: dict[str, Any]) -> None:
    labels, c = classes(options)
    generator = load(convert(pggan(**options)))
    assert generator.config.channels == tuple(fmaps().values())
    assert (generator.z_dim, generator.c_dim) == (LATENT, options.get("label_size", 0))
    wanted = draw_pggan(Z, labels, **options)
    assert np.abs(wanted).max() > 0.1
    assert np.abs(generator.synthesis(generator.mapping(tensor(Z), c)).numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("options", STYLEGAN_OPTIONS, ids=str)
def test_stylegan_draws_by_the_official_formulas(options: dict[str, Any]) -> None:
    labels, c = classes(options)
    generator = load(convert(stylegan(**options)))
    assert generator.config.channels == tuple(fmaps().values())
    sizes = (latent_size(options), DLATENT, options.get("label_size", 0))
    assert (generator.z_dim, generator.w_dim, generator.c_dim) == sizes
    z = np.random.default_rng(5).standard_normal((2, sizes[0]))
    w = map_stylegan(z, labels, **{name: value for name, value in options.items() if name != "lod"})
    ws = generator.mapping(tensor(z), c)
    assert ws.shape == (2, 6 if options.get("use_styles", True) else 1, DLATENT)
    assert np.abs(ws.numpy() - w[:, None]).max() < 1e-5
    w_plus = np.random.default_rng(6).standard_normal(ws.shape)
    wanted = draw_stylegan(w_plus, **options)
    assert np.abs(wanted).max() > 0.1
    assert np.abs(generator.synthesis(tensor(w_plus)).numpy() - wanted).max() < 1e-5


def test_automatic_fusing_begins_at_128_px() -> None:
    # a fused layer's taps are those of a layer apart, turned around
    auto, fused, apart = (convert(stylegan(resolution=256, fused_scale=how)).weights for how in ("auto", True, False))
    for side in (8, 16, 32, 64, 128, 256):
        name = f"synthesis_network.b{side}.layer0.weight"
        assert not torch.equal(fused[name], apart[name])
        assert torch.equal(auto[name], (fused if side >= 128 else apart)[name])


def edited(net: Network, part: str = "", options: dict[str, Any] | None = None, **more: Any) -> Network:
    """With other options, and in it or in one of its parts other variables: an array's shape, or None for none."""
    state = dict(net.state)
    if part:
        components: Any = state["components"]
        state["components"] = components | {part: edited(components[part], **more)}
    else:
        pairs: Any = state["variables"]
        changed = {name: value if value is None else stored(np.ones(value)) for name, value in more.items()}
        kept = [(name, value) for name, value in (dict(pairs) | changed).items() if value is not None]
        state["variables"] = kept
    kwargs: Any = state["static_kwargs"]
    return Network({**state, "static_kwargs": kwargs | (options or {})})


def test_last_of_several_networks_is_taken() -> None:
    last = edited(pggan(), **{"4x4/Dense/bias": (6,)})
    wanted = convert(last)
    assert torch.equal(wanted.weights["b4.layer0.bias"], torch.ones(6))
    for data in ((pggan(), Network({}), last), [pggan(), last], (last,)):
        assert recognise(data)
        assert torch.equal(convert(data).weights["b4.layer0.bias"], torch.ones(6))


@pytest.mark.parametrize("data", [None, 3, [], (), {}, {"G": 1}, [1], (pggan(), 3)], ids=repr)
def test_other_data_are_not_recognised(data: object) -> None:
    assert not recognise(data)
    with pytest.raises(ValueError, match="no network"):
        convert(data)


def test_option_that_the_official_code_does_not_know_is_ignored_as_it_ignores_it() -> None:
    plain, more = (convert(edited(pggan(), options=options)) for options in ({}, {"tick": 3, "dtype": "float16"}))
    assert plain.config == more.config
    assert all(torch.equal(more.weights[name], value) for name, value in plain.weights.items())


def test_outer_network_has_the_last_word_on_options_and_on_growing() -> None:
    inner = {"options": {"use_pixel_norm": False, "nonlinearity": "relu"}}
    net = edited(edited(stylegan(lod=0.5), "synthesis", **inner), options={"use_pixel_norm": True})
    config = convert(edited(net, "synthesis", lod=None)).config
    assert isinstance(config, StyleGAN1Config)
    assert (config.pixel_norm, config.activation, config.lod) == (True, "relu", 0.5)


STYLEGAN2 = "use the stylegan2-ada-pytorch conversion"


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Network({}), "no generator"),
        (Network({"variables": None, "static_kwargs": None, "components": 3}), "no generator"),
        (Network({"variables": [3, ("a", 1, 2), (None, 3)]}), "no generator"),
        (edited(pggan(), **{"ToRGB_lod0/weight": None, "FromRGB_lod0/weight": (1, 1, 3, 4)}), "no generator"),
        (pggan(num_channels=1), "1 channels"),
        (edited(pggan(), **{"16x16/Conv1/bias": None}), "16x16/Conv1/bias is missing"),
        (edited(pggan(), **{"8x8/Conv0_up/weight": None}), "8x8/Conv0_up/weight is missing"),
        (edited(pggan(), **{"8x8/Conv0_up/weight": (3, 3, 6, 5)}), r"\[3, 3, 6, 5\] instead of \[3, 3, 5, 6\]"),
        (edited(pggan(), **{"16x16/Conv1/weight": (1, 1, 4, 4)}), "16x16/Conv1/weight has shape"),
        (edited(pggan(), **{"16x16/Conv1/bias": (0,)}), "16x16/Conv1/bias has shape"),
        (edited(pggan(), **{"4x4/Dense/weight": (7,)}), "4x4/Dense/weight has shape"),
        (edited(pggan(), lod=None), "lod is missing"),
        (edited(pggan(), lod=(2,)), "lod has shape"),
        (pggan(lod=2.5), "lod 2.5"),
        (pggan(lod=-1), "lod -1"),
        (pggan(lod=float("nan")), "lod nan"),
        (edited(pggan(), **{"4x4/Attention/weight": (3,)}), "4x4/Attention/weight"),
        (edited(pggan(), options={"label_size": 7}), "no z beside 7 classes"),
        (edited(pggan(), options={"label_size": -1}), "label_size is -1"),
        (edited(pggan(), options={"use_pixelnorm": "yes"}), "use_pixelnorm is 'yes'"),
        (edited(pggan(), options={"pixelnorm_epsilon": None}), "pixelnorm_epsilon is None"),
        (stylegan(num_channels=1), "1 channels"),
        (edited(stylegan(), dlatent_avg=None), "dlatent_avg is missing"),
        (edited(stylegan(), more=(3,)), "'more'"),
        (edited(stylegan(), "synthesis", noise3=None), "noise3 is missing"),
        (edited(stylegan(), "synthesis", noise3=(1, 1, 4, 4)), "noise3 has shape"),
        (edited(stylegan(), "synthesis", noise6=(1, 1, 4, 4)), "'noise6'"),
        (edited(stylegan(), "synthesis", **{"4x4/Const/const": (1, 6, 4, 8)}), "4x4/Const/const has shape"),
        (edited(stylegan(), "synthesis", **{"8x8/Conv1/StyleMod/bias": None}), "8x8/Conv1/StyleMod/bias is missing"),
        (edited(stylegan(), "synthesis", **{"ToRGB_lod1/bias": None}), "ToRGB_lod1/bias is missing"),
        (edited(stylegan(), "mapping", **{"Dense1/weight": (8, 3)}), "Dense1/weight has shape"),
        (edited(stylegan(), "mapping", **{"Dense0/weight": None}), "Dense0/bias"),
        (edited(stylegan(mapping_layers=0, label_size=2), dlatent_avg=(9,)), "10 wide, not 9"),
        (stylegan(use_styles=False), "heeds no code"),
        (edited(stylegan(), options={"nonlinearity": "elu"}), "nonlinearity is 'elu'; known: 'lrelu', 'relu'"),
        (edited(stylegan(), options={"fused_scale": "maybe"}), "fused_scale is 'maybe'"),
        (edited(stylegan(), options={"structure": None}), "structure is None"),
        (edited(stylegan(), options={"mapping_lrmul": "much"}), "mapping_lrmul is 'much'"),
        (edited(stylegan(), options={"blur_filter": [1, 2.5]}), "blur_filter is "),
        (edited(stylegan(), options={"blur_filter": "121"}), "blur_filter is "),
        (edited(stylegan(), options={"blur_filter": [[1, 2], [2, 1]]}), "blur_filter is "),
        (edited(stylegan(), options={"blur_filter": [1, -1]}), "sum to zero"),
        (Network({**stylegan().state, "build_func_name": "G_main"}), STYLEGAN2),
        (edited(stylegan(), "synthesis", **{"4x4/Conv/mod_weight": (9, 6)}), STYLEGAN2),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(net: Network, reason: str) -> None:
    assert recognise(net)
    with pytest.raises(ValueError, match=reason) as caught:
        convert(net)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("family", "name", "path"),
    [
        ("stylegan1", "4x4_Const", "synthesis_network.b4.layer0"),
        ("stylegan1", "4x4_Dense", "synthesis_network.b4.layer0"),
        ("stylegan1", "4x4_Conv", "synthesis_network.b4.layer1"),
        ("stylegan1", "16x16_Conv0_up", "synthesis_network.b16.layer0"),
        ("stylegan1", "1024x1024_Conv1", "synthesis_network.b1024.layer1"),
        ("stylegan1", "ToRGB_lod2", "synthesis_network.torgb_lod2"),
        ("pggan", "4x4_Dense", "b4.layer0"),
        ("pggan", "4x4_Conv", "b4.layer1"),
        ("pggan", "8x8_Conv0", "b8.layer0"),
        ("pggan", "8x8_Conv0_up", "b8.layer0"),
        ("pggan", "ToRGB_lod0", "torgb_lod0"),
    ],
)
def test_features_are_found_by_their_official_names(family: str, name: str, path: str) -> None:
    assert feature(family, name) == (path, None)


@pytest.mark.parametrize("name", ["", "8x16_Conv1", "8x8_Conv2", "8x8_Conv1_x", "ToRGB", "ToRGB_lod", "x/../4x4_Conv"])
def test_unknown_feature_is_an_error(name: str) -> None:
    for family in ("stylegan1", "pggan", "stylegan2"):
        with pytest.raises(ValueError, match="no feature"):
            feature(family, name)
    with pytest.raises(ValueError, match="no feature"):
        feature("stylegan2", "4x4_Conv")


@pytest.mark.parametrize("net", [pggan(), stylegan()], ids=["pggan", "stylegan1"])
def test_every_layer_can_be_watched_while_a_picture_is_drawn(net: Network) -> None:
    converted = convert(net)
    generator, seen = load(converted), {}
    first = "4x4_Dense" if converted.family == "pggan" else "4x4_Const"
    names = [first, "4x4_Conv", "8x8_Conv1", "16x16_Conv0_up", "16x16_Conv1", "ToRGB_lod2", "ToRGB_lod1", "ToRGB_lod0"]
    for name in names:
        module = generator.get_submodule(feature(converted.family, name)[0])
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
    picture = generator.synthesis(generator.mapping(tensor(Z)))
    sides = [4, 4, 8, 16, 16, 4, 8, 16]
    assert [tuple(seen[name].shape[2:]) for name in names] == [(side, side) for side in sides]
    assert torch.equal(seen["ToRGB_lod0"], picture)
