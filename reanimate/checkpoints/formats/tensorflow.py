"""TensorFlow pickles of StyleGAN and of progressive growing: networks in a tuple, the averaged generator last.

Sizes are read from the arrays, and of the options only those that change a picture: the official code ignores names
that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from reanimate.checkpoints.data import Converted, Network
from reanimate.checkpoints.formats.variables import Form, Options, Variables
from reanimate.generators.pggan import SQRT2, Activation, PGGANConfig, block_resolutions
from reanimate.generators.stylegan1 import StyleGAN1Config

_FUSED_FROM = 128  # px that a doubling must lead to for fused_scale "auto" to fuse it
_LAYERS = {"Const": 0, "Dense": 0, "Conv0": 0, "Conv0_up": 0, "Conv": 1, "Conv1": 1}
_ACTIVATIONS: tuple[Activation, ...] = ("lrelu", "relu")


def recognise(data: object) -> bool:
    """Whether this is a network of a TensorFlow pickle, or several of them."""
    return bool(_networks(data))


def convert(data: object) -> Converted:
    """The generator; of several networks the last, which the official code calls Gs.

    Raises:
        ValueError: it is no generator of these two code bases.
    """
    networks = _networks(data)
    if not networks:
        raise ValueError("there is no network in it")
    network = networks[-1]
    components = network.state.get("components") or {}
    parts = components if isinstance(components, dict) else {}
    synthesis, mapping = parts.get("synthesis"), parts.get("mapping")
    if not (isinstance(synthesis, Network) and isinstance(mapping, Network)):
        return _pggan(network)
    if network.state.get("build_func_name") == "G_main" or "4x4/Conv/mod_weight" in Variables(synthesis, scaled=True):
        raise ValueError("a TensorFlow StyleGAN2 pickle; use the stylegan2-ada-pytorch conversion of it")
    return _stylegan1(network, synthesis, mapping)


def feature(family: str, name: str) -> tuple[str, int | None]:
    """The submodule whose output was recorded as `name`: a layer such as `8x8_Conv1`, or a `ToRGB_lod0`.

    Raises:
        ValueError: the family has no such layer.
    """
    inside = {"stylegan1": "synthesis_network.", "pggan": ""}.get(family)
    layer, rgb = re.fullmatch(r"(\d+)x\1_(\w+)", name), re.fullmatch(r"ToRGB_lod(\d+)", name)
    if inside is not None and rgb:
        return f"{inside}torgb_lod{rgb[1]}", None
    if inside is not None and layer and layer[2] in _LAYERS:
        return f"{inside}b{layer[1]}.layer{_LAYERS[layer[2]]}", None
    raise ValueError(f"{family} has no feature {name!r}")


def _networks(data: object) -> list[Network]:
    """The network, or those of a tuple of nothing else."""
    found = list(data) if isinstance(data, tuple | list) else [data]
    networks = [network for network in found if isinstance(network, Network)]
    return networks if len(networks) == len(found) else []


def _stylegan1(top: Network, synthesis: Network, mapping: Network) -> Converted:
    options = Options(mapping, synthesis, top)
    scaled = options.one_of("use_wscale", (True, False))
    outer, drawing, dense = (Variables(network, scaled=scaled) for network in (top, synthesis, mapping))
    fixed = options.one_of("structure", ("auto", "linear", "recursive", "fixed")) == "fixed"
    lod = 0.0 if fixed else _lod(outer)
    config = _stylegan1_config(options, outer, drawing, dense, lod)
    fused: object = options.one_of("fused_scale", ("auto", True, False))

    def form(name: str) -> Form:
        return "fused" if fused is True or (fused == "auto" and _side(name) >= _FUSED_FROM) else "apart"

    inside = _layers(drawing, config.channels, config.w_dim, form) | _styles(drawing, config)
    inside |= _torgb(drawing, config.channels, fixed=fixed)
    weights = {f"synthesis_network.{name}": value for name, value in inside.items()}
    inside = _mapping(dense, config, options.number("mapping_lrmul", 0.01))
    inside["w_avg"] = outer.take("dlatent_avg", config.w_dim)
    weights |= {f"mapping_network.{name}": value for name, value in inside.items()}
    for variables in (outer, drawing, dense):
        variables.finish("lod")  # of two, the outer one counts
    return Converted("stylegan1", config, weights)


def _stylegan1_config(
    options: Options, outer: Variables, drawing: Variables, dense: Variables, lod: float
) -> StyleGAN1Config:
    channels = _channels(drawing)
    (w_dim,) = outer.shape("dlatent_avg", 1)
    layers = 0
    while f"Dense{layers}/weight" in dense:
        layers += 1
    entry, width = dense.shape("Dense0/weight", 2) if layers else (w_dim, w_dim)
    c_dim, z_dim = dense.shape("LabelConcat/weight", 2) if "LabelConcat/weight" in dense else (0, entry)
    return StyleGAN1Config(
        resolution=4 << len(channels) - 1,
        channels=channels,
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=layers,
        mapping_width=width,
        mapping_activation=options.one_of("mapping_nonlinearity", _ACTIVATIONS),
        normalize_z=options.one_of("normalize_latents", (True, False)),
        c_dim=c_dim,
        activation=options.one_of("nonlinearity", _ACTIVATIONS),
        const_input="4x4/Const/const" in drawing,
        styles="4x4/Conv/StyleMod/weight" in drawing,
        noise="noise0" in drawing,
        pixel_norm=options.one_of("use_pixel_norm", (False, True)),
        instance_norm=options.one_of("use_instance_norm", (True, False)),
        blur=options.taps("blur_filter", (1, 2, 1)),
        lod=lod,
    )


def _mapping(dense: Variables, config: StyleGAN1Config, factor: float) -> dict[str, torch.Tensor]:
    weights = {}
    if config.c_dim:
        weights["embedding.weight"] = dense.take("LabelConcat/weight", config.c_dim, config.z_dim).T.contiguous()
    for i in range(config.mapping_layers):
        before, after = config.mapping_widths[i : i + 2]
        weights[f"fc{i}.weight"] = dense.matrix(f"Dense{i}/weight", before, after, SQRT2, factor)
        weights[f"fc{i}.bias"] = dense.take(f"Dense{i}/bias", after) * factor
    return weights


def _styles(drawing: Variables, config: StyleGAN1Config) -> dict[str, torch.Tensor]:
    weights = {}
    for i, (ours, name) in enumerate(_names(drawing, len(config.channels))):
        channels, side = config.channels[i // 2], _side(name)
        if config.noise:
            weights[f"{ours}.noise_strength"] = drawing.take(f"{name}/Noise/weight", channels)
            weights[f"{ours}.noise_const"] = drawing.take(f"noise{i}", 1, 1, side, side)[0, 0]
        if config.styles:
            weights[f"{ours}.style.weight"] = drawing.matrix(f"{name}/StyleMod/weight", config.w_dim, 2 * channels)
            weights[f"{ours}.style.bias"] = drawing.take(f"{name}/StyleMod/bias", 2 * channels)
    return weights


def _pggan(network: Network) -> Converted:
    options = Options(network)
    variables = Variables(network, scaled=options.one_of("use_wscale", (True, False)))
    channels = _channels(variables)
    width, c_dim = variables.shape("4x4/Dense/weight", 2)[0], int(options.number("label_size", 0))
    if c_dim >= width:
        raise ValueError(f"variable 4x4/Dense/weight is {width} wide, which leaves no z beside {c_dim} classes")
    config = PGGANConfig(
        resolution=4 << len(channels) - 1,
        channels=channels,
        z_dim=width - c_dim,
        c_dim=c_dim,
        normalize_z=options.one_of("normalize_latents", (True, False)),
        activation="lrelu" if options.one_of("use_leakyrelu", (True, False)) else "relu",
        pixel_norm=options.one_of("use_pixelnorm", (True, False)),
        epsilon=options.number("pixelnorm_epsilon", 1e-8),
        lod=_lod(variables),
    )
    weights = _layers(variables, channels, width, lambda name: "turned" if name.endswith("_up") else "apart")
    weights |= _torgb(variables, channels, fixed=False)
    variables.finish("lod")
    return Converted("pggan", config, weights)


def _lod(variables: Variables) -> float:
    return float(variables.take("lod"))


def _side(name: str) -> int:
    return int(name.partition("x")[0])


def _channels(variables: Variables) -> tuple[int, ...]:
    """Channels of the blocks from 4 px up."""
    if "ToRGB_lod0/weight" not in variables:
        raise ValueError("there is no generator in it: its last network draws no picture")
    colours = variables.shape("ToRGB_lod0/weight", 4)[3]
    if colours != 3:
        raise ValueError(f"it draws pictures of {colours} channels; only those of 3 can be used")
    blocks = 1
    while f"{4 << blocks}x{4 << blocks}/Conv1/weight" in variables:
        blocks += 1
    return tuple(variables.shape(f"{name}/bias", 1)[0] for _, name in _names(variables, blocks)[1::2])


def _names(variables: Variables, blocks: int) -> list[tuple[str, str]]:
    """Our name and the official one of every layer, two a block."""
    names = []
    for side in block_resolutions(4 << blocks - 1):
        first, second = (("Const", "Dense"), "Conv") if side == 4 else (("Conv0_up", "Conv0"), "Conv1")
        kind = first[f"{side}x{side}/{first[0]}/bias" not in variables]
        names += [(f"b{side}.layer0", f"{side}x{side}/{kind}"), (f"b{side}.layer1", f"{side}x{side}/{second}")]
    return names


def _layers(
    variables: Variables, channels: tuple[int, ...], features: int, form: Callable[[str], Form]
) -> dict[str, torch.Tensor]:
    """Weights and biases of every layer; `form` says in which way a doubling layer is stored."""
    weights = {}
    before = features
    for i, (ours, name) in enumerate(_names(variables, len(channels))):
        after, kind = channels[i // 2], name.partition("/")[2]
        if kind == "Const":
            weights[f"{ours}.weight"] = variables.take(f"{name}/const", 1, after, 4, 4)[0]
        elif kind == "Dense":
            weights[f"{ours}.weight"] = variables.matrix(f"{name}/weight", before, 16 * after, SQRT2 / 4)
        elif kind.startswith("Conv0"):
            weights[f"{ours}.weight"] = variables.doubling(f"{name}/weight", form(name), before, after)
        else:
            weights[f"{ours}.weight"] = variables.kernel(f"{name}/weight", 3, before, after, SQRT2)
        weights[f"{ours}.bias"] = variables.take(f"{name}/bias", after)
        before = after
    return weights


def _torgb(variables: Variables, channels: tuple[int, ...], *, fixed: bool) -> dict[str, torch.Tensor]:
    """What draws each block's picture; a `fixed` network has none but the last, and the others draw nothing."""
    weights = {}
    for lod, before in enumerate(reversed(channels)):
        ours, name = f"torgb_lod{lod}", f"ToRGB_lod{lod}"
        absent = fixed and lod > 0
        weights[f"{ours}.weight"] = (
            torch.zeros(3, before, 1, 1) if absent else variables.kernel(f"{name}/weight", 1, before, 3, 1.0)
        )
        weights[f"{ours}.bias"] = torch.zeros(3) if absent else variables.take(f"{name}/bias", 3)
    return weights
