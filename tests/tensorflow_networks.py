"""Small random networks as StyleGAN's and progressive growing's TensorFlow code keeps them, and what they draw.

The drawing is written out tap by tap in float64 from the official formulas, in numpy and in TensorFlow's layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from reanimate.checkpoints.data import Network, StoredTensor

RESOLUTION = 16
LATENT, DLATENT, MAPPING = 7, 10, 8
STYLEGAN_DEFAULTS: dict[str, Any] = {
    "num_channels": 3, "label_size": 0, "mapping_layers": 2, "mapping_lrmul": 0.01, "mapping_nonlinearity": "lrelu",
    "normalize_latents": True, "use_wscale": True, "use_styles": True, "const_input_layer": True, "use_noise": True,
    "nonlinearity": "lrelu", "use_pixel_norm": False, "use_instance_norm": True, "fused_scale": "auto",
    "blur_filter": [1, 2, 1], "structure": "auto",
}  # fmt: skip
PGGAN_DEFAULTS: dict[str, Any] = {
    "num_channels": 3, "label_size": 0, "normalize_latents": True, "use_wscale": True, "use_pixelnorm": True,
    "pixelnorm_epsilon": 1e-8, "use_leakyrelu": True, "fused_scale": True,
}  # fmt: skip

Arrays = dict[str, np.ndarray]


def fmaps(resolution: int = RESOLUTION) -> dict[int, int]:
    """Channels by side, which differ so that nothing can be exchanged."""
    return {4 << i: max(6 - i, 2) for i in range(resolution.bit_length() - 2)}


def latent_size(options: dict[str, Any]) -> int:
    """Without a mapping network, z and a class make up w."""
    if options.get("mapping_layers") == 0:
        return DLATENT // 2 if options.get("label_size") else DLATENT
    return LATENT


def stored(value: np.ndarray) -> StoredTensor:
    tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32))
    return StoredTensor(tuple(value.shape), tensor.dtype, tensor.clone)


def network(variables: Arrays, options: dict[str, Any], function: str, **components: Network) -> Network:
    """As it is read: numbers are plain ones."""
    pairs = [(name, stored(value) if value.ndim else float(value)) for name, value in variables.items()]
    state = {"version": 3, "name": "Gs", "static_kwargs": options, "components": components, "build_module_src": ""}
    return Network({**state, "build_func_name": function, "variables": pairs})


class Random:
    """Variables that are drawn when they are named."""

    def __init__(self, seed: int) -> None:
        self.variables: Arrays = {}
        self._rng = np.random.default_rng(seed)

    def add(self, name: str, *shape: int, size: float = 1.0) -> None:
        self.variables[name] = self._rng.standard_normal(shape).astype(np.float32) * np.float32(size)

    def layer(self, name: str, *shape: int, bias: int = 0) -> None:
        self.add(f"{name}/weight", *shape)
        self.add(f"{name}/bias", bias or shape[-1])


def pggan_variables(lod: float = 0.0, seed: int = 0, **given: Any) -> Arrays:
    options, random = PGGAN_DEFAULTS | given, Random(seed)
    random.variables["lod"] = np.float32(lod)
    before, last = fmaps()[4], len(fmaps()) - 1
    random.layer("4x4/Dense", LATENT + options["label_size"], 16 * before, bias=before)
    random.layer("4x4/Conv", 3, 3, before, before)
    for side, after in list(fmaps().items())[1:]:
        if options["fused_scale"]:
            random.layer(f"{side}x{side}/Conv0_up", 3, 3, after, before, bias=after)
        else:
            random.layer(f"{side}x{side}/Conv0", 3, 3, before, after)
        random.layer(f"{side}x{side}/Conv1", 3, 3, after, after)
        before = after
    for i, channels in enumerate(fmaps().values()):
        random.layer(f"ToRGB_lod{last - i}", 1, 1, channels, options["num_channels"])
    return random.variables


def pggan(lod: float = 0.0, **given: Any) -> Network:
    return network(pggan_variables(lod, **given), given, "G_paper")


def stylegan_variables(
    lod: float = 0.0, seed: int = 0, resolution: int = RESOLUTION, **given: Any
) -> tuple[Arrays, Arrays, Arrays]:
    """Of the generator itself, of its synthesis, and of its mapping network."""
    options, random = STYLEGAN_DEFAULTS | given, Random(seed)
    random.variables["lod"] = np.float32(0)  # of the synthesis, which the generator overrules
    if options["use_noise"]:
        for i in range(2 * len(fmaps(resolution))):
            random.add(f"noise{i}", 1, 1, 4 << i // 2, 4 << i // 2)

    def layer(name: str, channels: int, *shape: int) -> None:
        random.add(f"{name}/{'weight' if len(shape) != 4 or shape[0] != 1 else 'const'}", *shape)
        random.add(f"{name}/bias", channels)
        if options["use_noise"]:
            random.add(f"{name}/Noise/weight", channels)
        if options["use_styles"]:
            random.layer(f"{name}/StyleMod", DLATENT, 2 * channels)

    before, last = fmaps(resolution)[4], len(fmaps(resolution)) - 1
    if options["const_input_layer"]:
        layer("4x4/Const", before, 1, before, 4, 4)
    else:
        layer("4x4/Dense", before, DLATENT, 16 * before)
    layer("4x4/Conv", before, 3, 3, before, before)
    for side, after in list(fmaps(resolution).items())[1:]:
        layer(f"{side}x{side}/Conv0_up", after, 3, 3, before, after)
        layer(f"{side}x{side}/Conv1", after, 3, 3, after, after)
        before = after
    for i, channels in enumerate(fmaps(resolution).values()):
        if options["structure"] != "fixed" or i == last:
            random.layer(f"ToRGB_lod{last - i}", 1, 1, channels, options["num_channels"])

    mapping, size = Random(seed + 1), 1 / options["mapping_lrmul"]
    width = latent_size(options)
    if options["label_size"]:
        mapping.add("LabelConcat/weight", options["label_size"], width)
        width *= 2
    for i in range(options["mapping_layers"]):
        after = DLATENT if i == options["mapping_layers"] - 1 else MAPPING
        mapping.add(f"Dense{i}/weight", width, after, size=size)
        mapping.add(f"Dense{i}/bias", after, size=size)
        width = after
    outer = Random(seed + 2)
    outer.variables["lod"] = np.float32(lod)
    outer.add("dlatent_avg", DLATENT)
    return outer.variables, random.variables, mapping.variables


def stylegan(lod: float = 0.0, resolution: int = RESOLUTION, **given: Any) -> Network:
    outer, synthesis, mapping = stylegan_variables(lod, resolution=resolution, **given)
    parts = {"synthesis": network(synthesis, given, "G_synthesis"), "mapping": network(mapping, given, "G_mapping")}
    return network(outer, given, "G_style", **parts)


class Drawing:
    """The official formulas, over variables and options."""

    def __init__(self, variables: Arrays, options: dict[str, Any]) -> None:
        self.variables = {name: value.astype(np.float64) for name, value in variables.items()}
        self.options = options

    def weight(self, name: str, fan_in: int, gain: float, multiplier: float = 1.0) -> np.ndarray:
        scale = gain / np.sqrt(fan_in) if self.options["use_wscale"] else 1.0
        return self.variables[f"{name}/weight"] * scale * multiplier

    def conv(self, x: np.ndarray, name: str, gain: float = 2**0.5) -> np.ndarray:
        size, _, before, _ = self.variables[f"{name}/weight"].shape
        return convolved(x, self.weight(name, size * size * before, gain))

    def bias(self, x: np.ndarray, name: str) -> np.ndarray:
        return x + self.variables[f"{name}/bias"][None, :, None, None]

    def rgb(self, x: np.ndarray, lod: int) -> np.ndarray:
        return self.bias(self.conv(x, f"ToRGB_lod{lod}", 1.0), f"ToRGB_lod{lod}")


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, out, H, W]: weight [size, size, in, out], zeros around x."""
    size, (height, width) = len(weight), x.shape[2:]
    around = np.pad(x, ((0, 0), (0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    return sum(
        np.einsum("nihw,io->nohw", around[:, :, i : i + height, j : j + width], weight[i, j])
        for i in range(size)
        for j in range(size)
    )


def spread(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, out, 2H, 2W]: each pixel spreads the sum of four shifts of weight [3, 3, in, out] around its place."""
    count, _, height, width = x.shape
    taps = np.zeros((4, 4, *weight.shape[2:]))
    for i, j in np.ndindex(2, 2):
        taps[i : i + 3, j : j + 3] += weight
    canvas = np.zeros((count, weight.shape[3], 2 * height + 2, 2 * width + 2))
    for i, j in np.ndindex(4, 4):
        canvas[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += np.einsum("nihw,io->nohw", x, taps[i, j])
    return canvas[:, :, 1:-1, 1:-1]


def repeated(x: np.ndarray, times: int = 2) -> np.ndarray:
    return x.repeat(times, 2).repeat(times, 3)


def blurred(x: np.ndarray, taps: list[float]) -> np.ndarray:
    """Zeros around x; of an even filter, one more behind."""
    kernel = np.outer(taps, taps) / np.sum(taps) ** 2
    before, after, (height, width) = (len(taps) - 1) // 2, len(taps) // 2, x.shape[2:]
    around = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    return sum(kernel[i, j] * around[:, :, i : i + height, j : j + width] for i, j in np.ndindex(kernel.shape))


def pixel_norm(x: np.ndarray, epsilon: float = 1e-8) -> np.ndarray:
    return x / np.sqrt((x**2).mean(1, keepdims=True) + epsilon)


def act(x: np.ndarray, kind: str) -> np.ndarray:
    return np.maximum(x, 0.2 * x if kind == "lrelu" else 0)


def faded(rgb: Callable[[int], np.ndarray], lod: float) -> np.ndarray:
    """The official recursion, unrolled: the level that `lod` lies in, mixed with the one above."""
    level = int(np.floor(lod))
    picture = rgb(level)
    if lod > level:
        picture = picture + (repeated(rgb(level + 1)) - picture) * (lod - level)
    return repeated(picture, 2**level)


def draw_pggan(z: np.ndarray, labels: np.ndarray, lod: float = 0.0, **given: Any) -> np.ndarray:
    options = PGGAN_DEFAULTS | given
    net = Drawing(pggan_variables(lod, **given), options)

    def finish(x: np.ndarray, name: str) -> np.ndarray:
        x = act(net.bias(x, name), "lrelu" if options["use_leakyrelu"] else "relu")
        return pixel_norm(x, options["pixelnorm_epsilon"]) if options["use_pixelnorm"] else x

    x = np.concatenate([z, labels], 1)
    if options["normalize_latents"]:
        x = pixel_norm(x, options["pixelnorm_epsilon"])
    x = (x @ net.weight("4x4/Dense", x.shape[1], 2**0.5 / 4)).reshape(len(z), -1, 4, 4)
    x = finish(x, "4x4/Dense")
    blocks = {2: finish(net.conv(x, "4x4/Conv"), "4x4/Conv")}
    for level, side in ((1, 8), (0, 16)):
        x, name = blocks[level + 1], f"{side}x{side}/Conv0" + ("_up" if options["fused_scale"] else "")
        if options["fused_scale"]:
            x = spread(x, net.weight(name, 9 * x.shape[1], 2**0.5).swapaxes(2, 3))
        else:
            x = net.conv(repeated(x), name)
        x = finish(x, name)
        blocks[level] = finish(net.conv(x, f"{side}x{side}/Conv1"), f"{side}x{side}/Conv1")
    return faded(lambda level: net.rgb(blocks[level], level), lod)


def map_stylegan(z: np.ndarray, labels: np.ndarray, **given: Any) -> np.ndarray:
    """[N, D]."""
    options = STYLEGAN_DEFAULTS | given
    net = Drawing(stylegan_variables(**given)[2], options)
    x = np.concatenate([z, labels @ net.variables["LabelConcat/weight"]], 1) if options["label_size"] else z
    x = pixel_norm(x) if options["normalize_latents"] else x
    for i in range(options["mapping_layers"]):
        x = x @ net.weight(f"Dense{i}", x.shape[1], 2**0.5, options["mapping_lrmul"])
        x = act(x + net.variables[f"Dense{i}/bias"] * options["mapping_lrmul"], options["mapping_nonlinearity"])
    return x


def draw_stylegan(ws: np.ndarray, lod: float = 0.0, **given: Any) -> np.ndarray:
    options = STYLEGAN_DEFAULTS | given
    net = Drawing(stylegan_variables(lod, **given)[1], options)

    def finish(x: np.ndarray, name: str, i: int) -> np.ndarray:
        if options["use_noise"]:
            x = x + net.variables[f"noise{i}"] * net.variables[f"{name}/Noise/weight"][None, :, None, None]
        x = act(net.bias(x, name), options["nonlinearity"])
        x = pixel_norm(x) if options["use_pixel_norm"] else x
        if options["use_instance_norm"]:
            x = x - x.mean((2, 3), keepdims=True)
            x = x / np.sqrt((x**2).mean((2, 3), keepdims=True) + 1e-8)
        if options["use_styles"]:
            style = ws[:, i] @ net.weight(f"{name}/StyleMod", DLATENT, 1.0) + net.variables[f"{name}/StyleMod/bias"]
            scale, shift = style.reshape(len(ws), 2, -1, 1, 1).swapaxes(0, 1)
            x = x * (scale + 1) + shift
        return x

    if options["const_input_layer"]:
        x = finish(np.repeat(net.variables["4x4/Const/const"], len(ws), 0), "4x4/Const", 0)
    else:
        x = ws[:, 0] @ net.weight("4x4/Dense", DLATENT, 2**0.5 / 4)
        x = finish(x.reshape(len(ws), -1, 4, 4), "4x4/Dense", 0)
    blocks = {2: finish(net.conv(x, "4x4/Conv"), "4x4/Conv", 1)}
    for level, side in ((1, 8), (0, 16)):
        x, name = blocks[level + 1], f"{side}x{side}/Conv0_up"
        fused = options["fused_scale"] is True
        x = spread(x, net.weight(name, 9 * x.shape[1], 2**0.5)) if fused else net.conv(repeated(x), name)
        x = blurred(x, options["blur_filter"]) if options["blur_filter"] else x
        x = finish(x, name, 4 - 2 * level)
        x = net.conv(x, f"{side}x{side}/Conv1")
        blocks[level] = finish(x, f"{side}x{side}/Conv1", 5 - 2 * level)
    return faded(lambda level: net.rgb(blocks[level], level), lod)
