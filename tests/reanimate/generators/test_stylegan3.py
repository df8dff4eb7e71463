from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHARED
from scipy.signal import fftconvolve
from torch.nn import functional

from reanimate.generators.protocol import Generator
from reanimate.generators.stylegan3 import StyleGAN3, StyleGAN3Config

LAYERS = sorted((SHARED / "parity" / "stylegan3").glob("*/layers.json"))
OPTIONS: list[dict[str, Any]] = [
    {},
    {"conv_kernel": 1, "radial_layers": 4},
    {"conv_clamp": 0.5, "output_scale": 0.7},
    {"lrelu_upsampling": 1},
    {"lrelu_upsampling": 4, "filter_size": 3},
    {"filter_size": 5, "radial_layers": 6},
    {"c_dim": 3, "label": 1},
]


def published_geometry(resolution: int, layers: int = 6, critical: int = 2, margin: int = 4) -> dict[str, Any]:
    """Sizes and rates by the rule of the paper: cutoffs and stopbands grow geometrically, then stay."""
    grown = np.minimum(np.arange(layers + 1) / (layers - critical), 1)
    stopbands = 2**2.1 * (resolution / 2 * 2**0.3 / 2**2.1) ** grown
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, resolution)))).astype(int)
    sizes = [*(rates + 2 * margin)[:-2], resolution, resolution]
    return {
        "resolution": resolution,
        "sizes": tuple(int(size) for size in sizes),
        "sampling_rates": tuple(int(rate) for rate in rates),
    }


def shaken(**options: Any) -> StyleGAN3:
    """A small generator in which nothing is zero or one; its filters are what they happen to be."""
    torch.manual_seed(1)
    sizes = {**published_geometry(32), "channels": (6, 6, 5, 5, 4, 4), "z_dim": 8, "w_dim": 8}
    network = StyleGAN3(StyleGAN3Config(**{**sizes, **options})).requires_grad_(False)
    for name, value in network.state_dict().items():
        value.add_(torch.randn(value.shape) * (0.02 if "filter" in name else 0.2))
        if "magnitude" in name:
            value.abs_()
    return network


class Published:
    """The official code's sums in float64: a normalised weight for every picture, and filters by their definition."""

    def __init__(self, network: StyleGAN3) -> None:
        self.config = network.config
        self.state = {name: value.double() for name, value in network.synthesis_network.state_dict().items()}

    def affine(self, name: str, w: torch.Tensor) -> torch.Tensor:
        return w @ self.state[f"{name}.affine.weight"].T / w.shape[1] ** 0.5 + self.state[f"{name}.affine.bias"]

    def start(self, w: torch.Tensor) -> torch.Tensor:
        config, (channels, _) = self.config, self.state["input.freqs"].shape
        waves = []
        for a, b, x, y in self.affine("input", w):
            length = torch.hypot(a, b)
            a, b, x, y = a / length, b / length, x / length, y / length
            turn = torch.tensor([[a, -b, 0], [b, a, 0], [0, 0, 1]], dtype=torch.float64)
            shift = torch.tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1]], dtype=torch.float64)
            matrix = turn @ shift @ self.state["input.transform"]
            phases = self.state["input.phases"] + self.state["input.freqs"] @ matrix[:2, 2]
            freqs = self.state["input.freqs"] @ matrix[:2, :2]
            fading = (freqs.norm(dim=1) - config.bandwidth) / (config.sampling_rates[0] / 2 - config.bandwidth)
            half = 0.5 * config.sizes[0] / config.sampling_rates[0]
            theta = torch.tensor([[[half, 0, 0], [0, half, 0]]], dtype=torch.float64)
            grid = functional.affine_grid(theta, [1, 1, config.sizes[0], config.sizes[0]], align_corners=False)[0]
            wave = torch.sin(2 * math.pi * (grid @ freqs.T + phases)) * (1 - fading).clamp(0, 1)
            waves.append((wave @ self.state["input.weight"].T / channels**0.5).permute(2, 0, 1))
        return torch.stack(waves)

    def filtered(self, x: torch.Tensor, name: str, up: int, down: int, padding: tuple[int, int]) -> torch.Tensor:
        fir = self.state.get(name, torch.ones(1, dtype=torch.float64))
        fir = torch.outer(fir, fir) if fir.ndim == 1 else fir
        before, after = padding
        planes = []
        for plane in x.flatten(0, 1).numpy():
            wide = np.zeros((plane.shape[0] * up, plane.shape[1] * up))
            wide[::up, ::up] = plane
            wide = np.pad(wide, ((max(before, 0), max(after, 0)),) * 2)
            kept = slice(max(-before, 0), len(wide) - max(-after, 0))
            planes.append(fftconvolve(wide[kept, kept], fir.numpy() * up**2, "valid")[::down, ::down])
        return torch.from_numpy(np.stack(planes)).view(*x.shape[:2], *planes[0].shape)

    def layer(self, name: str, index: int, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        sizes, last = self.config.layer(index), index == len(self.config.channels)
        weight, styles = self.state[f"{name}.weight"], self.affine(name, w)
        if last:
            styles = styles / weight.shape[1] ** 0.5
        else:  # normalised over the batch, as the official code does
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            styles = styles * styles.square().mean().rsqrt()
        weights = weight * styles[:, None, :, None, None]
        if not last:
            weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        weights = weights * self.state[f"{name}.magnitude_ema"].rsqrt()
        around = weight.shape[2] - 1
        x = torch.cat([functional.conv2d(x[[n]], weights[n], padding=around) for n in range(len(x))])
        x = x + self.state[f"{name}.bias"][:, None, None]
        x = self.filtered(x, f"{name}.up_filter", sizes.up, 1, sizes.padding)
        if not last:
            x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
        if self.config.conv_clamp:
            x = x.clamp(-self.config.conv_clamp, self.config.conv_clamp)
        return self.filtered(x, f"{name}.down_filter", 1, sizes.down, (0, 0))

    def pictures(self, ws: torch.Tensor) -> torch.Tensor:
        x = self.start(ws[:, 0])
        for i, name in enumerate(self.config.layer_names):
            x = self.layer(name, i, x, ws[:, i + 1])
        return x * self.config.output_scale


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_pictures_are_those_of_the_official_sums(options: dict[str, Any]) -> None:
    network = shaken(**options).double()
    ws = torch.randn(2, 8, 8, dtype=torch.float64)
    assert torch.allclose(network.synthesis(ws), Published(network).pictures(ws), atol=1e-7)


def test_transform_turns_and_moves_what_is_drawn() -> None:
    network = shaken().double()
    ws = torch.randn(2, 8, 8, dtype=torch.float64)
    plain = network.synthesis(ws)
    network.synthesis_network.input.transform.copy_(torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0.0, 0.0, 1.0]]))
    turned = network.synthesis(ws)
    assert torch.allclose(turned, Published(network).pictures(ws), atol=1e-7)
    assert (turned - plain).abs().max() > 0.01


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_layer_gives_the_size_and_channels_of_its_name(options: dict[str, Any]) -> None:
    network = shaken(**options)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in network.synthesis_network.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape)}))
    assert network.synthesis(torch.randn(2, 8, 8)).shape == (2, 3, 32, 32)
    config = network.config
    wanted = {"input": (2, config.channels[0], config.sizes[0], config.sizes[0])}
    for name in config.layer_names:
        _, size, channels = name.split("_")
        wanted[name] = (2, int(channels), int(size), int(size))
    assert seen == wanted


@pytest.mark.skipif(not LAYERS, reason="../shared/parity is not beside this checkout")
@pytest.mark.parametrize("path", LAYERS, ids=lambda path: path.parent.name)
def test_layers_have_the_sizes_of_the_official_ones(path: Any) -> None:
    layers = json.loads(path.read_text())
    first = next(iter(layers.values()))
    config = StyleGAN3Config(
        **published_geometry(64, 14, 2, 10),
        channels=tuple(layer["out_channels"] for layer in layers.values())[:-1],
        conv_kernel=first["conv_kernel"],
        radial_layers=sum(layer["radial"] for layer in layers.values()),
    )
    assert config.layer_names == list(layers)
    for i, layer in enumerate(layers.values()):
        ours = config.layer(i)
        assert [*ours.padding, *ours.padding] == layer["padding"]
        for name in ("in_channels", "out_channels", "up", "down", "up_taps", "down_taps"):
            assert getattr(ours, name) == layer[name]
        assert ours.kernel_size == layer["conv_kernel"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batch_is_its_pictures_one_by_one_and_gradients_reach_every_code(options: dict[str, Any]) -> None:
    network, ws = shaken(**options), torch.randn(3, 8, 8, requires_grad=True)
    pictures = network.synthesis(ws)
    singles = torch.cat([network.synthesis(one[None]) for one in ws])
    assert torch.allclose(pictures, singles, rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(pictures[1].square().sum(), ws)
    assert (gradient[1].abs().amax(1) > 0).all()
    assert not gradient[[0, 2]].any()


def test_size_of_styles_changes_nothing_before_the_last_layer() -> None:
    """Demodulation undoes it, so nothing need be normalised over the batch."""
    network, ws = shaken().double(), torch.randn(1, 8, 8, dtype=torch.float64)
    before = network.synthesis(ws)
    affine = network.synthesis_network.get_submodule(f"{network.config.layer_names[2]}.affine")
    for parameter in affine.parameters():
        parameter.mul_(30)
    assert torch.allclose(network.synthesis(ws), before, atol=1e-7)


def test_noise_mode_changes_nothing() -> None:
    network, ws = shaken(), torch.randn(1, 8, 8)
    assert torch.equal(network.synthesis(ws, "none"), network.synthesis(ws, "random"))


def test_it_is_what_the_library_asks_of_a_generator() -> None:
    network = shaken(c_dim=3)
    assert isinstance(network, Generator)
    ws = network.mapping(torch.randn(2, 8), torch.eye(3)[:2], 0.7, 3)
    assert ws.shape == (2, network.num_ws, 8)


def test_new_network_draws_something_finite() -> None:
    torch.manual_seed(0)
    network = StyleGAN3(StyleGAN3Config(**published_geometry(32), channels=(8,) * 6, z_dim=8, w_dim=8))
    pictures = network.synthesis(network.mapping(torch.randn(2, 8)))
    assert torch.isfinite(pictures).all()
    assert pictures.std() > 1e-3


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fewest_weights_are_no_more_than_there_are(options: dict[str, Any]) -> None:
    network = shaken(**options)
    assert network.config.fewest_weights <= sum(value.numel() for value in network.state_dict().values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sizes": (24, 32)}, "as many sizes"),
        ({"sampling_rates": (16, 32)}, "as many sizes"),
        ({"resolution": 64}, "gives 32 px, not 64"),
        ({"sampling_rates": (16, 24, 32)}, "layer 2 cannot go from a sampling rate of 24 to 32"),
        ({"sampling_rates": (0, 16, 32)}, "do not suit"),
        ({"bandwidth": 8.0}, "do not suit"),
        ({"c_dim": 2, "label": 2}, "no class"),
    ],
)
def test_sizes_that_no_network_has_are_refused(options: dict[str, Any], reason: str) -> None:
    sizes = {"resolution": 32, "channels": (4, 4), "sizes": (24, 40, 32), "sampling_rates": (16, 32, 32)}
    StyleGAN3Config(**sizes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=reason):
        StyleGAN3Config(**{**sizes, **options})
