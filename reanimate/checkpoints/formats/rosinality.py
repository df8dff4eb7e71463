"""StyleGAN2 checkpoints of rosinality's stylegan2-pytorch, read and written.

The network is the official one under other names and with other axes of length one. Its code fixes the gain of the
mapping network, whose layers are all as wide as w.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from reanimate.checkpoints.data import Converted, StoredTensor
from reanimate.errors import MediaError, ModelError
from reanimate.generators.stylegan2 import StyleGAN2Config, usual_filter

LR_MULTIPLIER = 0.01
USUAL_LAYERS = 8  # of the mapping network, which its scripts take for granted
_W_AVG = "mapping_network.w_avg"
_LAYER = {  # of a convolution: our name to theirs
    "weight": "conv.weight",
    "bias": "activate.bias",
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "noise_strength": "noise.weight",
}
_PICTURE = {name: _LAYER[name] for name in ("weight", "affine.weight", "affine.bias")} | {"bias": "bias"}


def recognise(data: object) -> bool:
    """Whether this is a checkpoint with an averaged generator of this code."""
    return _generator(data) is not None


def convert(data: object) -> Converted:
    """The averaged generator of a checkpoint; its w_avg is zero where none is stored, as while it was trained.

    Raises:
        ValueError: it has other tensors than such a generator.
    """
    stored = _generator(data)
    if stored is None or not isinstance(data, dict):
        raise ValueError("there is no generator in it")
    fir = _common_filter(stored)
    usual = fir.shape == (4, 4) and torch.allclose(fir, usual_filter())
    config = _configure(stored, 0 if usual else len(fir))
    weights = {_W_AVG: torch.zeros(config.w_dim)} | ({} if usual else {"synthesis_network.fir": fir})
    average = data.get("latent_avg")
    if isinstance(average, StoredTensor):
        weights[_W_AVG] = average.read().float().flatten()  # [1, D] where it is what their mean_latent returns
    names = _names(config)
    for name in names.values():
        if name not in stored:
            raise ValueError(f"{name} is missing")
    known = set(names.values())
    for name in stored:
        if name not in known and not name.endswith(".kernel"):
            raise ValueError(f"it has {name!r:.60}, which no such generator has")
    weights |= {ours: _our_axes(ours, stored[theirs].read().float()) for ours, theirs in names.items()}
    return Converted("stylegan2", config, weights)


def export(config: StyleGAN2Config, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a network as {g_ema, latent_avg}, all of a Generator(resolution, w_dim, n_mlp) of that code.

    A linear layer of the mapping network becomes two with their activation, which is the same: x = act(-5/2 · act(-x)).
    Pairs that change nothing fill it up to the eight layers that their scripts expect, if an even number is lacking.
    Channels are the network's own; their class has them in a table. Nothing there limits activations, so conv_clamp is
    left out.

    Raises:
        ModelError: their code cannot express the network.
        MediaError: the file cannot be written.
    """
    reason = _inexpressible(config)
    if reason:
        raise ModelError(path, f"cannot be a rosinality checkpoint: {reason}")
    plain = {} if config.use_noise else _silence(config)
    plain |= {name: value.detach().cpu().float() for name, value in weights.items()}
    generator: dict[str, torch.Tensor] = {}
    for i, (weight, bias) in enumerate(_their_mapping(config, plain), 1):
        generator |= {f"style.{i}.weight": weight.clone(), f"style.{i}.bias": bias.clone()}
    for ours, theirs in _names(config).items():
        if ours.startswith("synthesis_network."):
            generator[theirs] = _their_axes(ours, plain[ours]).clone()
    for k in range(len(config.channels) - 1):
        generator[f"convs.{2 * k}.conv.blur.kernel"] = usual_filter() * 4
        generator[f"to_rgbs.{k}.upsample.kernel"] = usual_filter() * 4
    contents = io.BytesIO()
    torch.save({"g_ema": generator, "latent_avg": plain[_W_AVG].clone()}, contents)
    try:
        path.write_bytes(contents.getbuffer())
    except OSError as error:
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error


def feature(family: str, name: str) -> tuple[str, int | None]:
    """The submodule, and which of its outputs, that was recorded as `name`, a module's name in their code.

    Raises:
        ValueError: the network has no such module.
    """
    layer = re.fullmatch(r"conv1|convs\.(\d{1,2})", name)
    picture = re.fullmatch(r"to_rgb1|to_rgbs\.(\d{1,2})", name)
    if family == "stylegan2" and layer:
        k, j = divmod(int(layer[1]), 2) if layer[1] else (-1, 1)
        return f"synthesis_network.b{2 ** (k + 3)}.conv{j}", None
    if family == "stylegan2" and picture:  # theirs adds the enlarged picture of the blocks before
        return f"synthesis_network.b{2 ** (int(picture[1] or -1) + 3)}", 1
    raise ValueError(f"{family} has no feature {name!r}")


def _generator(data: object) -> dict[str, StoredTensor] | None:
    table = data.get("g_ema") if isinstance(data, dict) else None
    if not isinstance(table, dict) or not {"style.1.weight", "input.input", "conv1.conv.weight"} <= table.keys():
        return None
    return {str(name): value for name, value in table.items() if isinstance(value, StoredTensor)}


def _configure(stored: Mapping[str, StoredTensor], resample_taps: int) -> StyleGAN2Config:
    layers = sum(re.fullmatch(r"style\.\d+\.weight", name) is not None for name in stored)
    kernels = [name for name in stored if re.fullmatch(r"conv1\.conv\.weight|convs\.\d*[13579]\.conv\.weight", name)]
    kernels.sort(key=lambda name: int(name.split(".")[1]) if name.startswith("convs") else -1)
    shapes = [stored[name].shape for name in ("style.1.weight", *kernels)]
    if [len(shape) for shape in shapes] != [2, *[5] * len(kernels)]:
        raise ValueError("its weights do not have as many axes as those of such a generator")
    width = shapes[0][0]
    return StyleGAN2Config(
        resolution=2 ** (len(kernels) + 1),
        channels=tuple(shape[1] for shape in shapes[1:]),
        z_dim=width,
        w_dim=width,
        mapping_layers=layers,
        mapping_lr_multiplier=LR_MULTIPLIER,
        resample_taps=resample_taps,
    )


def _common_filter(stored: Mapping[str, StoredTensor]) -> torch.Tensor:
    """[K, K] filter that all layers share, summing to one; theirs has the gain of doubling in it."""
    found = [value.read().float() / 4 for name, value in stored.items() if name.endswith(".kernel")]
    if not found or any(not torch.equal(value, found[0]) for value in found):
        raise ValueError("its layers lack a resampling filter or do not share one")
    return found[0]


def _names(config: StyleGAN2Config) -> dict[str, str]:
    """Our names of the tensors of a network to theirs."""
    names = {"synthesis_network.b4.const": "input.input"}
    for i in range(config.mapping_layers):
        names |= {f"mapping_network.fc{i}.{leaf}": f"style.{i + 1}.{leaf}" for leaf in ("weight", "bias")}
    for k, resolution in enumerate(config.block_resolutions, -1):  # theirs count the blocks from 8 px up
        block = f"synthesis_network.b{resolution}"
        for j in (1,) if k < 0 else (0, 1):
            layer = "conv1" if k < 0 else f"convs.{2 * k + j}"
            names |= {f"{block}.conv{j}.{ours}": f"{layer}.{theirs}" for ours, theirs in _LAYER.items()}
            names[f"{block}.conv{j}.noise_const"] = f"noises.noise_{2 * k + j + 1}"
        picture = "to_rgb1" if k < 0 else f"to_rgbs.{k}"
        names |= {f"{block}.torgb.{ours}": f"{picture}.{theirs}" for ours, theirs in _PICTURE.items()}
    return names


def _their_axes(name: str, value: torch.Tensor) -> torch.Tensor:
    """One of our tensors with axes of length one where theirs has them."""
    if name.endswith(".torgb.bias"):
        return value[None, :, None, None]
    if name.endswith(".noise_const"):
        return value[None, None]
    extended = value.ndim == 4 or name.endswith((".const", ".noise_strength"))
    return value[None] if extended else value


def _our_axes(name: str, value: torch.Tensor) -> torch.Tensor:
    """One of theirs without these axes; as it is, for our network to refuse, if it lacks them."""
    without = value.flatten() if name.endswith(".torgb.bias") else value.squeeze(0)
    without = without.squeeze(0) if name.endswith(".noise_const") else without
    return without if _their_axes(name, without).shape == value.shape else value


def _silence(config: StyleGAN2Config) -> dict[str, torch.Tensor]:
    """Noise that does nothing, for a network without: there every layer has some."""
    found: dict[str, torch.Tensor] = {}
    for r in config.block_resolutions:
        for layer in (f"synthesis_network.b{r}.conv0", f"synthesis_network.b{r}.conv1"):
            found |= {f"{layer}.noise_const": torch.zeros(r, r), f"{layer}.noise_strength": torch.zeros([])}
    return found


def _inexpressible(config: StyleGAN2Config) -> str:
    """Why their code cannot draw what a network does; empty if it can."""
    usual = {"architecture": "skip", "activation": "lrelu", "c_dim": 0, "kernel_size": 3, "resample_taps": 0}
    for name, value in usual.items():
        if getattr(config, name) != value:
            return f"it has no {name} {getattr(config, name)}"
    if {config.z_dim, *config.mapping_widths} != {config.w_dim}:
        return f"its mapping network has one width, not {config.mapping_widths}"
    if config.mapping_activation not in ("lrelu", "linear"):
        return f"its mapping network has no activation {config.mapping_activation}"
    return ""


def _their_mapping(
    config: StyleGAN2Config, weights: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of layers with their gain and activation that do what the mapping network does."""
    gain = config.mapping_lr_multiplier / LR_MULTIPLIER
    unit = torch.eye(config.w_dim) * (config.w_dim**0.5 / LR_MULTIPLIER)
    zero = torch.zeros(config.w_dim)
    layers: list[tuple[torch.Tensor, torch.Tensor]] = []
    for i in range(config.mapping_layers):
        weight, bias = (weights[f"mapping_network.fc{i}.{part}"] * gain for part in ("weight", "bias"))
        layers += [(weight, bias)] if config.mapping_activation == "lrelu" else [(-weight, -bias), (-2.5 * unit, zero)]
    pairs, odd = divmod(USUAL_LAYERS - len(layers), 2)
    return layers if odd else layers + [(-unit, zero), (-2.5 * unit, zero)] * pairs
