"""Pickles of stylegan2-ada-pytorch and stylegan3: modules of PyTorch, each with its tensors and attributes.

Weights keep their names. Sizes are read from the tensors; attributes say what tensors cannot: gains, clamps, rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import torch

from reanimate.checkpoints.data import Converted, Module, StoredTensor
from reanimate.generators.mapping import Activation, MappingConfig
from reanimate.generators.stylegan2 import Architecture, StyleGAN2Config, usual_filter
from reanimate.generators.stylegan3 import StyleGAN3Config

_GENERATORS = ("G_ema", "G")  # the average first
_NETWORKS = {"synthesis": "synthesis_network", "mapping": "mapping_network"}
_Numbered = list[tuple[re.Match[str], Module]]


def recognise(data: object) -> bool:
    """Whether this is a generator of the official PyTorch code, or a checkpoint with one in it."""
    return _generator(data) is not None


def convert(data: object) -> Converted:
    """The averaged generator of a checkpoint; its w_avg is zero where none is stored.

    Raises:
        ValueError: it is neither a StyleGAN2 nor a StyleGAN3, or has an option that no official one has.
    """
    generator = _generator(data)
    if generator is None:
        raise ValueError("there is no generator in it")
    parts = _children(generator)
    mapping = _mapping_options(parts["mapping"])
    stored = {
        f"{ours}.{name}": value for theirs, ours in _NETWORKS.items() for name, value in _tensors(parts[theirs]).items()
    }
    blocks = [block for _, block in _numbered(parts["synthesis"], r"b(\d+)")]
    layers = _numbered(parts["synthesis"], r"L(\d+)_(\d+)_(\d+)")
    if blocks:
        return _stylegan2(blocks, mapping, stored)
    if layers:
        return _stylegan3(parts["synthesis"], layers, mapping, stored)
    raise ValueError("its generator is neither a StyleGAN2 nor a StyleGAN3")


def feature(family: str, name: str) -> tuple[str, int | None]:
    """The submodule, and which of its outputs, that was recorded as `name`: a block's x or img, or a layer.

    Raises:
        ValueError: the network has no such output.
    """
    block = re.fullmatch(r"(b\d+)_(x|img)", name)
    if family == "stylegan2" and block:
        return f"synthesis_network.{block[1]}", ("x", "img").index(block[2])
    if family == "stylegan3" and re.fullmatch(r"input|L\d+_\d+_\d+", name):
        return f"synthesis_network.{name}", None
    raise ValueError(f"{family} has no feature {name!r}")


def _generator(data: object) -> Module | None:
    candidates = [data.get(name) for name in _GENERATORS] if isinstance(data, dict) else [data]
    for module in candidates:
        if isinstance(module, Module) and _children(module).keys() >= _NETWORKS.keys():
            return module
    return None


def _children(module: Module) -> dict[str, Module]:
    table = module.state.get("_modules")
    children = table.items() if isinstance(table, dict) else ()
    return {name: child for name, child in children if isinstance(child, Module)}


def _tensors(module: Module, prefix: str = "") -> dict[str, StoredTensor]:
    """All parameters and buffers by their path."""
    found = {}
    for kind in ("_parameters", "_buffers"):
        table = module.state.get(kind)
        for name, value in table.items() if isinstance(table, dict) else ():
            if isinstance(value, StoredTensor):  # what a module may have and this one does not is None
                found[f"{prefix}{name}"] = value
    for name, child in _children(module).items():
        found |= _tensors(child, f"{prefix}{name}.")
    return found


def _shape(module: Module, name: str, ndim: int) -> tuple[int, ...]:
    value = _tensors(module).get(name)
    if value is None or len(value.shape) != ndim:
        raise ValueError(f"one of its modules has no {name} of {ndim} axes")
    return value.shape


def _attribute(module: Module, name: str) -> Any:
    if name not in module.state:
        raise ValueError(f"one of its modules has no {name}")
    return module.state[name]


def _common(modules: Iterable[Module], name: str) -> Any:
    """The value of an attribute that all modules agree on."""
    first, *others = (_attribute(module, name) for module in modules)
    if any(value != first for value in others):
        raise ValueError(f"its layers do not agree on {name}")
    return first


def _choice(value: object, kind: Any, what: str) -> Any:
    if value not in get_args(kind):
        raise ValueError(f"{what} {str(value)[:40]!r} is not known")
    return value


def _numbered(module: Module, pattern: str) -> _Numbered:
    """Children whose name matches, by the number in their name."""
    children = _children(module).items()
    found = [(match, child) for name, child in children if (match := re.fullmatch(pattern, name))]
    return sorted(found, key=lambda item: int(item[0][1]))


def _mapping_options(mapping: Module) -> dict[str, Any]:
    layers = [layer for _, layer in _numbered(mapping, r"fc(\d+)")]
    if not layers:
        raise ValueError("its mapping network has no layers")
    first, last = _shape(layers[0], "weight", 2), _shape(layers[-1], "weight", 2)
    embed = _children(mapping).get("embed")
    embed_features, c_dim = _shape(embed, "weight", 2) if embed is not None else (0, 0)
    return {
        "z_dim": first[1] - embed_features,
        "w_dim": last[0],
        "c_dim": c_dim,
        "embed_features": embed_features,
        "mapping_layers": len(layers),
        "mapping_features": first[0],
        "mapping_lr_multiplier": float(_common(layers, "bias_gain")),
        "mapping_activation": _choice(_common(layers, "activation"), Activation, "activation"),
    }


def _stylegan2(blocks: list[Module], mapping: dict[str, Any], stored: dict[str, StoredTensor]) -> Converted:
    fir = _common_filter([stored.pop(name) for name in list(stored) if name.endswith("resample_filter")])
    usual = fir.shape == (4, 4) and torch.allclose(fir, usual_filter())
    layers = [child for block in blocks for name, child in _children(block).items() if name.startswith("conv")]
    pictures = [child for block in blocks for name, child in _children(block).items() if name == "torgb"]
    for picture in pictures:
        _check_three_channels(_shape(picture, "weight", 4)[0])
    kernels = [_shape(block, "conv1.weight", 4) for block in blocks]
    config = StyleGAN2Config(
        resolution=2 ** (len(blocks) + 1),
        channels=tuple(shape[0] for shape in kernels),
        architecture=_choice(_common(blocks, "architecture"), Architecture, "architecture"),
        activation=_choice(_common(layers, "activation"), Activation, "activation"),
        conv_clamp=float(_common([*layers, *pictures], "conv_clamp") or 0),
        use_noise=bool(_common(layers, "use_noise")),
        kernel_size=kernels[0][2],
        resample_taps=0 if usual else len(fir),
        **mapping,
    )
    weights = _weights(stored, config)
    if not usual:
        weights["synthesis_network.fir"] = fir
    return Converted("stylegan2", config, weights)


def _common_filter(filters: list[StoredTensor]) -> torch.Tensor:
    """[K, K] filter that all layers share, summing to one."""
    found = [value.read().float() for value in filters]
    if not found or any(not torch.equal(value, found[0]) for value in found):
        raise ValueError("its layers lack a resampling filter or do not share one")
    return torch.outer(found[0], found[0]) if found[0].ndim == 1 else found[0]  # long ones are kept as one axis


def _stylegan3(
    synthesis: Module, named: _Numbered, mapping: dict[str, Any], stored: dict[str, StoredTensor]
) -> Converted:
    layers = [layer for _, layer in named]
    start = _children(synthesis)["input"]
    channels = [_shape(layer, "weight", 4)[0] for layer in layers]
    _check_three_channels(channels[-1])
    factors = [(_attribute(layer, "up_taps"), _attribute(layer, "up_factor")) for layer in layers[:-1]]
    config = StyleGAN3Config(
        resolution=int(named[-1][0][2]),
        channels=tuple(channels[:-1]),
        sizes=tuple(int(match[2]) for match, _ in named),
        sampling_rates=tuple(int(_attribute(layer, "out_sampling_rate")) for layer in layers),
        bandwidth=float(_attribute(start, "bandwidth")),
        conv_kernel=_shape(layers[0], "weight", 4)[2],
        filter_size=next((taps // factor for taps, factor in factors if factor > 1), 6),
        lrelu_upsampling=_attribute(layers[0], "up_factor"),
        radial_layers=sum(_attribute(layer, "down_radial") is True for layer in layers),
        conv_clamp=float(_common(layers, "conv_clamp") or 0),
        output_scale=float(_attribute(synthesis, "output_scale")),
        **mapping,
    )
    _check_geometry(config, start, named)
    return Converted("stylegan3", config, _weights(stored, config))


def _check_geometry(config: StyleGAN3Config, start: Module, named: _Numbered) -> None:
    """Raise ValueError where a layer is not of the sizes that follow from the configuration."""
    size, rate = _attribute(start, "size").read().tolist(), _attribute(start, "sampling_rate")
    if size != [config.sizes[0]] * 2 or rate != config.sampling_rates[0]:
        raise ValueError("its input is not of the sizes that its first layer needs")
    for i, (match, layer) in enumerate(named):
        derived = config.layer(i)
        sizes = [_attribute(layer, name) for name in ("up_factor", "down_factor", "padding")]
        if sizes != [derived.up, derived.down, [*derived.padding, *derived.padding]]:
            raise ValueError(f"layer {match[0]} is not of the sizes that follow from its rates")


def _weights(stored: Mapping[str, StoredTensor], config: MappingConfig) -> dict[str, torch.Tensor]:
    weights = {name: value.read().float() for name, value in stored.items()}
    weights.setdefault("mapping_network.w_avg", torch.zeros(config.w_dim))
    return weights


def _check_three_channels(count: int) -> None:
    if count != 3:
        raise ValueError(f"it draws pictures of {count} channels; only three can be used")
