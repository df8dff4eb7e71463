"""Checkpoints of GAN_stability: state dictionaries of a generator, of its running average, and of what trained it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from reanimate.checkpoints.data import Converted, StoredTensor
from reanimate.generators.mescheder import MeschederConfig, Variant

_GENERATORS = ("generator_test", "generator")  # the average first
_PREFIX = "module."  # of a model that was trained on several devices
_OLD_BLOCK = re.compile(r"resnet\.(\d{1,3})(?=\.|$)")  # every second index is an upsampling
_BLOCK = re.compile(r"resnet_(\d{1,3})_(\d)(?=\.|$)")


def recognise(data: object) -> bool:
    """Whether this is a checkpoint of GAN_stability with a generator in it."""
    return _generator(data) is not None


def convert(data: object) -> Converted:
    """The averaged generator of a checkpoint, or the generator itself where there is no average.

    Raises:
        ValueError: it is none of the official variants.
    """
    stored = _generator(data)
    if stored is None:
        raise ValueError("there is no generator in it")
    found = {_renamed(name): value for name, value in stored.items()}
    config = _configure(found, _variant(stored))
    return Converted("mescheder", config, {name: value.read().float() for name, value in found.items()})


def feature(family: str, name: str) -> tuple[str, int | None]:
    """The submodule whose output was recorded as `name`, a module's name in the official code.

    Raises:
        ValueError: the network has no such module.
    """
    ours = _renamed(f"resnet.{name}" if name.isdecimal() else name)
    if not re.fullmatch(r"fc|conv_img|stages\.\d+\.\d", ours):
        raise ValueError(f"{family} has no feature {name!r}")
    return ours, None


def _generator(data: object) -> Mapping[str, StoredTensor] | None:
    """The tensors of the generator, names without prefix; only it embeds a class."""
    for key in _GENERATORS:
        table = data.get(key) if isinstance(data, dict) else None
        if isinstance(table, dict) and all(isinstance(name, str) for name in table):
            names = {name.removeprefix(_PREFIX): value for name, value in table.items()}
            if {"embedding.weight", "fc.weight", "conv_img.weight"} <= names.keys() and all(
                isinstance(value, StoredTensor) for value in names.values()
            ):
                return names
    return None


def _renamed(name: str) -> str:
    name = _OLD_BLOCK.sub(lambda found: f"stages.{int(found[1]) // 2}.0", name)
    return _BLOCK.sub(lambda found: f"stages.{int(found[1])}.{found[2]}", name)


def _variant(names: Mapping[str, StoredTensor]) -> Variant:
    if any(name.startswith("resnet.") for name in names):
        return "resnet"
    if "resnet_0_1.conv_0.weight" in names:
        return "resnet2"
    return "resnet4" if "resnet_6_0.conv_0.weight" in names else "resnet3"


def _configure(found: Mapping[str, StoredTensor], variant: Variant) -> MeschederConfig:
    blocks = sorted({tuple(map(int, name.split(".")[1:3])) for name in found if name.startswith("stages.")})
    stages = max((stage for stage, _ in blocks), default=-1) + 1
    last = 1 if variant == "resnet2" else 0
    if stages == 0 or blocks != [(stage, block) for stage in range(stages) for block in range(last + 1)]:
        raise ValueError(f"its blocks are not those of {variant}")
    outputs = [_shape(found, f"stages.{stage}.{last}.conv_1.weight", 4)[0] for stage in range(stages)]
    channels = (_shape(found, "stages.0.0.conv_0.weight", 4)[1], *outputs)
    rows, columns = _shape(found, "fc.weight", 2)
    labels, embed_size = _shape(found, "embedding.weight", 2)
    start = math.isqrt(rows // max(channels[0], 1))
    if start**2 * channels[0] != rows:
        raise ValueError(f"fc returns {rows} numbers, which is no square of {channels[0]} channels")
    doublings = stages if variant == "resnet3" else stages - 1
    c_dim = labels if labels > 1 else 0
    return MeschederConfig(start << doublings, channels, variant, columns - embed_size, embed_size, c_dim)


def _shape(found: Mapping[str, StoredTensor], name: str, ndim: int) -> tuple[int, ...]:
    shape = found[name].shape if name in found else ()
    if len(shape) != ndim:
        raise ValueError(f"{name} is {list(shape)} and not of {ndim} axes" if shape else f"{name} is missing")
    return shape
