"""Official checkpoints: opened without running anything, turned into a family's network, and kept as a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from reanimate.checkpoints.bundle import Card, check_weights, save_bundle
from reanimate.checkpoints.data import Converted, Module, Network
from reanimate.checkpoints.families import configure, family_types
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ConfigError, ModelError

FORMATS = ("nvidia", "rosinality", "mescheder", "tensorflow")  # modules of `formats`
MAX_DRAWN = 10_000_000  # numbers in a tensor; with larger ones, drawing takes more memory than the file
MAX_NUMBERS = 1 << 30  # the same of what is imported at all; the largest StyleGAN3 has two thirds of it
_AVERAGED = 10_000  # draws that a mean of W is taken over, as the official code does
_BATCH = 1000
# what converting a file of odd contents may run into; the formats' own words for a bad file are ValueErrors
_ODD = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, RecursionError)


def open_official(path: Path) -> Converted:
    """The generator of an official checkpoint.

    Raises:
        ModelError: the file is none, is damaged, or holds no generator that is known.
    """
    return identify(path)[1]


def identify(path: Path) -> tuple[str, Converted]:
    """The name of a checkpoint's format, which is that of its module in `formats`, and the generator.

    Raises:
        ModelError: as open_official.
    """
    if path.suffix == ".safetensors":
        raise ModelError(path, "is weights alone, which do not say what they are of; give a bundle's folder instead")
    data = read_checkpoint(path)
    for form in FORMATS:
        module = format_module(form)
        if module.recognise(data):
            try:
                converted: Converted = module.convert(data)
            except _ODD as error:
                reason = str(error) if type(error) is ValueError else f"its data are damaged ({error!r:.80})"
                raise ModelError(path, reason) from error
            config = configure(type(converted.config), asdict(converted.config), str(path))  # type: ignore[call-overload]
            return form, replace(converted, config=config)
    raise ModelError(path, _unknown(data))


def format_module(form: str) -> Any:
    """The module that knows a format by name."""
    return import_module(f"reanimate.checkpoints.formats.{form}")


def build(converted: Converted, path: Path) -> Any:
    """The network of a converted checkpoint, frozen, every weight in place.

    Raises:
        ModelError: the weights do not fit their network, or are not all numbers.
    """
    config, weights = converted.config, converted.weights
    if config.fewest_weights > sum(value.numel() for value in weights.values()):
        raise ModelError(path, "its weights are fewer than its sizes say")  # before memory is given to sizes alone
    try:
        network: nn.Module = family_types(converted.family, str(path))[1](config)
        network.load_state_dict(weights)
    except _ODD as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[-1].strip()
        raise ModelError(path, f"its weights are not those of a {converted.family} ({reason})") from error
    check_weights(network, path)
    return network.eval().requires_grad_(False)


def import_checkpoint(path: Path, folder: Path, name: str, label: int | None = None, licence: str = "unknown") -> Card:
    """Write an official checkpoint's generator as a bundle in float32, once it has shown that it can draw.

    `label` is the class that a conditional generator draws, 0 if none is given. A mean of W that the file lacks is
    measured.

    Raises:
        ModelError: the file cannot be opened, or its generator draws nothing.
        ConfigError: there is no such class.
        MediaError: the folder cannot be written.
    """
    form, converted = identify(path)
    config = _with_label(converted.config, label)
    network = build(replace(converted, config=config), path)
    converted.weights.clear()  # the network has its own
    if network.has_w and not network.w_avg.any():
        network.w_avg.copy_(_mean_w(network))
    _check_picture(network, path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(path, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    file_name = path.name.encode(errors="replace").decode()  # a name may be any bytes, a card may not
    provenance = {"imported_from": file_name, "sha256": digest, "format": form}
    return save_bundle(folder, name, network, None, provenance, {}, licence, torch.float32)


def _unknown(data: object) -> str:
    parts = [data, *(data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple) else ())]
    names = [part.class_name for part in parts if isinstance(part, Module)]
    names += [str(part.state.get("build_func_name")) for part in parts if isinstance(part, Network)]
    if any(name.startswith("D") for name in names):  # Discriminator, or D_stylegan and the like
        return "holds a discriminator but no generator that is known"
    return "holds no generator that is known: StyleGAN 1 to 3, progressive GAN, or GAN_stability"


def _with_label(config: Any, label: int | None) -> Any:
    classes = getattr(config, "c_dim", 0)
    if label is None:
        return config
    if not 0 <= label < classes:
        known = f"give one from 0 to {classes - 1}" if classes else "it has none"
        raise ConfigError("class", f"the model has no class {label}; {known}")
    return replace(config, label=label)


@torch.no_grad()
def _mean_w(network: Any) -> torch.Tensor:
    """[D] over seeded draws."""
    random = torch.Generator().manual_seed(0)
    draws = (torch.randn(_BATCH, network.z_dim, generator=random) for _ in range(_AVERAGED // _BATCH))
    return torch.stack([network.mapping(z)[:, 0].mean(0) for z in draws]).mean(0)


@torch.no_grad()
def _check_picture(network: Any, path: Path) -> None:
    """Raise ModelError unless the network can draw. Shapes are followed without numbers; if small enough, it draws."""
    z = torch.randn(1, network.z_dim, generator=torch.Generator().manual_seed(0))
    try:
        with torch.device("meta"), _Largest() as largest:
            outline = type(network)(network.config)
            shape = outline.synthesis(outline.mapping(z.to("meta"))).shape
        if largest.numel > MAX_NUMBERS:
            raise ModelError(
                path, f"its generator has {largest.numel} activations at a time, which none that is known has"
            )
        finite = largest.numel > MAX_DRAWN or bool(network.synthesis(network.mapping(z)).isfinite().all())
    except _ODD as error:  # sizes that fit the weights but not each other
        raise ModelError(path, f"its generator cannot draw ({error!r:.80})") from error
    if shape != (1, 3, network.resolution, network.resolution) or not finite:
        raise ModelError(path, f"its generator draws no picture of {network.resolution} px")


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size of the largest tensor that is made meanwhile."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function's own result."""
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made
