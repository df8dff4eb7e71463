"""Small random networks in the forms of official checkpoints, and what writes them: nothing but pickle and torch."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reanimate.checkpoints.data import Module, Network


@dataclass(frozen=True)
class Named:
    """A global, written without being looked up."""

    module: str
    name: str

    def __call__(self) -> None:
        """Pickle asks whether it could be called."""


@dataclass
class EasyDict:
    """A dictionary that is written as NVIDIA's."""

    contents: dict[str, Any]


class OfficialPickler(pickle._Pickler):
    """Writes Module and Network as the official code does; tensors and arrays write themselves."""

    network = Named("dnnlib.tflib.network", "Network")
    module_src = ""

    def save_named(self, value: Named) -> None:
        if self.proto >= 4:
            self.save(value.module)
            self.save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    def save_new(self, kind: Named, value: object) -> None:
        self.save(kind)
        self.save(())
        self.write(pickle.NEWOBJ)
        self.memoize(value)

    def save_easy_dict(self, value: EasyDict) -> None:
        self.save_new(Named("dnnlib.util", "EasyDict"), value)
        self._batch_setitems(value.contents.items())

    def save_network(self, value: Network) -> None:
        self.save_new(self.network, value)
        self.save(value.state)
        self.write(pickle.BUILD)

    def save_module(self, value: Module) -> None:
        meta = {"type": "class", "version": 6, "module_src": self.module_src}
        meta |= {"class_name": value.class_name, "state": value.state}
        self.save_reduce(Named("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,), obj=value)

    dispatch = {  # noqa: RUF012
        **pickle._Pickler.dispatch,
        Named: save_named,
        EasyDict: save_easy_dict,
        Network: save_network,
        Module: save_module,
    }


def official_pickle(value: object, protocol: int = 4, network: str = "dnnlib.tflib.network", source: str = "") -> bytes:
    """The bytes of an official pickle."""
    out = io.BytesIO()
    pickler = OfficialPickler(out, protocol)
    pickler.network, pickler.module_src = Named(network, "Network"), source
    pickler.dump(value)
    return out.getvalue()


def torch_file(value: object, *, zipped: bool) -> bytes:
    """The bytes that torch.save writes."""
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def module(
    class_name: str,
    parameters: dict[str, torch.Tensor] | None = None,
    buffers: dict[str, torch.Tensor] | None = None,
    modules: dict[str, Module] | None = None,
    **attributes: Any,
) -> Module:
    """A module as NVIDIA's code describes it."""
    wrapped = {name: torch.nn.Parameter(value, requires_grad=False) for name, value in (parameters or {}).items()}
    state: dict[str, Any] = {
        "training": False,
        "_parameters": OrderedDict(wrapped),
        "_buffers": OrderedDict(buffers or {}),
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        "_modules": OrderedDict(modules or {}),
        **attributes,
        "_init_args": (),
        "_init_kwargs": EasyDict({}),
    }
    return Module(class_name, state)


def stylegan2(resolution: int = 16, channels: int = 4, width: int = 8) -> dict[str, Any]:
    """The contents of a pickle of stylegan2-ada-pytorch; width is that of z and w."""
    taps = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    sides = [2**i for i in range(2, resolution.bit_length())]
    num_ws = 2 * len(sides)

    def dense(out: int, activation: str = "linear", multiplier: float = 1.0) -> Module:
        gain = np.float64(multiplier / np.sqrt(width))
        weights = {"weight": torch.randn(out, width), "bias": torch.ones(out)}
        return module("FullyConnectedLayer", weights, activation=activation, weight_gain=gain, bias_gain=multiplier)

    def layer(side: int, up: int) -> Module:
        weights = {
            "weight": torch.randn(channels, channels, 3, 3),
            "noise_strength": torch.tensor(0.1),
            "bias": torch.zeros(channels),
        }
        buffers = {"resample_filter": taps.clone(), "noise_const": torch.randn(side, side)}
        options = {"resolution": side, "up": up, "use_noise": True, "activation": "lrelu", "conv_clamp": None}
        options |= {"padding": 1, "act_gain": np.sqrt(2)}
        return module("SynthesisLayer", weights, buffers, {"affine": dense(channels)}, **options)

    def block(side: int) -> Module:
        inside = {} if side == 4 else {"conv0": layer(side, 2)}
        colour = {"weight": torch.randn(3, channels, 1, 1), "bias": torch.zeros(3)}
        gain = np.float64(channels**-0.5)
        inside["conv1"] = layer(side, 1)
        inside["torgb"] = module(
            "ToRGBLayer", colour, {}, {"affine": dense(channels)}, conv_clamp=None, weight_gain=gain
        )
        options = {"w_dim": width, "resolution": side, "img_channels": 3, "is_last": side == resolution}
        options |= {"in_channels": 0 if side == 4 else channels, "architecture": "skip", "use_fp16": False}
        options |= {"channels_last": False, "num_conv": len(inside) - 1, "num_torgb": 1}
        const = {"const": torch.randn(channels, 4, 4)} if side == 4 else {}
        return module("SynthesisBlock", const, {"resample_filter": taps.clone()}, inside, **options)

    sizes = {"img_resolution": resolution, "img_channels": 3, "w_dim": width, "num_ws": num_ws}
    synthesis = module("SynthesisNetwork", {}, {}, {f"b{side}": block(side) for side in sides}, **sizes)
    sizes = {"z_dim": width, "c_dim": 0, **sizes}
    mapping = module(
        "MappingNetwork",
        {},
        {"w_avg": torch.randn(width)},
        {f"fc{i}": dense(width, "lrelu", 0.01) for i in range(2)},
        **{name: sizes[name] for name in ("z_dim", "c_dim", "w_dim", "num_ws")},
        num_layers=2,
        w_avg_beta=0.995,
    )
    generator = module("Generator", {}, {}, {"synthesis": synthesis, "mapping": mapping}, **sizes)
    return {"training_set_kwargs": EasyDict({"path": "x"}), "G_ema": generator, "augment_pipe": None}


def pggan(resolution: int = 16, channels: int = 4) -> Network:
    """A generator of progressive growing; z is as wide as the rest."""
    rng = np.random.default_rng(0)
    levels = resolution.bit_length() - 3
    variables: dict[str, Any] = {"lod": np.float32(0)}

    def layer(name: str, *shape: int) -> None:
        variables[f"{name}/weight"] = rng.standard_normal(shape, np.float32)
        variables[f"{name}/bias"] = np.zeros(3 if name.startswith("ToRGB") else channels, np.float32)

    layer("4x4/Dense", channels, channels * 16)
    layer("4x4/Conv", 3, 3, channels, channels)
    for level in range(1, levels + 1):
        side = 4 << level
        layer(f"{side}x{side}/Conv0_up", 3, 3, channels, channels)
        layer(f"{side}x{side}/Conv1", 3, 3, channels, channels)
    for lod in range(levels + 1):
        layer(f"ToRGB_lod{lod}", 1, 1, channels, 3)
    options = {"num_channels": 3, "resolution": resolution, "label_size": 0, "fmap_base": 64, "fmap_max": channels}
    state = {"version": 2, "name": "Gs", "static_kwargs": options, "build_module_src": "", "build_func_name": "G_paper"}
    return Network({**state, "variables": list(variables.items())})


def mescheder(channels: int = 4) -> dict[str, Any]:
    """A checkpoint of GAN_stability for 16 px."""
    state: OrderedDict[str, torch.Tensor] = OrderedDict()

    def layer(name: str, *shape: int) -> None:
        state[f"module.{name}.weight"] = torch.randn(shape) * 0.1
        state[f"module.{name}.bias"] = torch.zeros(shape[0])

    state["module.embedding.weight"] = torch.ones(1, 1)
    layer("fc", channels * 16, 9)
    for i in (0, 2, 4):
        layer(f"resnet.{i}.conv_0", channels, channels, 3, 3)
        layer(f"resnet.{i}.conv_1", channels, channels, 3, 3)
    layer("conv_img", 3, channels, 3, 3)
    optimiser = {"state": {}, "param_groups": [{"lr": 1e-4, "params": [140234567890123]}]}
    return {"it": 7, "generator_test": state, "g_optimizer": optimiser}


FORMS: dict[str, Callable[[], bytes]] = {
    "stylegan2.pkl": lambda: official_pickle(stylegan2()),
    "stylegan2-protocol-3.pkl": lambda: official_pickle(stylegan2(), protocol=3),
    "pggan.pkl": lambda: official_pickle((pggan(), pggan(), pggan()), network="tfutil"),
    "mescheder-legacy.pt": lambda: torch_file(mescheder(), zipped=False),
    "mescheder-zip.pt": lambda: torch_file(mescheder(), zipped=True),
}
"""One file of every container, from a seeded random state."""


def write_forms(folder: Path) -> dict[str, Path]:
    """The files of FORMS by name."""
    torch.manual_seed(0)
    for name, make in FORMS.items():
        (folder / name).write_bytes(make())
    return {name: folder / name for name in FORMS}
