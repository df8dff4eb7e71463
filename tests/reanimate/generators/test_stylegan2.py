from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_generator
from scipy.signal import convolve2d
from torch.nn import functional

from reanimate.generators.protocol import Generator
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, SynthesisLayer, ToRGB, usual_channels

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


OPTIONS: list[dict[str, Any]] = [
    {},
    {"architecture": "orig"},
    {"architecture": "resnet"},
    {"conv_clamp": 0.4},
    {"architecture": "resnet", "conv_clamp": 0.4, "activation": "swish"},
    {"activation": "relu"},
    {"activation": "linear", "use_noise": False},
    {"resample_taps": 3},
    {"resample_taps": 1, "architecture": "resnet"},
    {"resample_taps": 8},
    {"kernel_size": 1},
    {"kernel_size": 5, "resample_taps": 2},
    {"c_dim": 3},
]
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "lrelu": lambda x: torch.where(x > 0, x, 0.2 * x) * 2**0.5,
    "relu": lambda x: x.clamp(min=0) * 2**0.5,
    "swish": lambda x: x * torch.sigmoid(x) * 2**0.5,
    "linear": lambda x: x,
}


class Published:
    """The official code's sums in float64: a weight for every picture, and zeros between pixels before a filter."""

    def __init__(self, network: StyleGAN2) -> None:
        self.config = network.config
        self.state = {name: value.double() for name, value in network.synthesis_network.state_dict().items()}
        self.fir = self.state.get("fir", FIR)

    def affine(self, name: str, w: torch.Tensor) -> torch.Tensor:
        return w @ self.state[f"{name}.affine.weight"].T / len(w) ** 0.5 + self.state[f"{name}.affine.bias"]

    def doubled(self, x: torch.Tensor, around: int = 0) -> torch.Tensor:
        taps, pictures = len(self.fir), []
        before, after = around + (taps + 1) // 2, around + (taps - 2) // 2
        for plane in x.numpy():
            wide = np.zeros((2 * plane.shape[0], 2 * plane.shape[1]))
            wide[::2, ::2] = plane
            wide = np.pad(wide, ((before, max(after, 0)),) * 2)[: min(after, 0) or None, : min(after, 0) or None]
            pictures.append(convolve2d(wide, self.fir.numpy() * 4, "valid"))
        return torch.from_numpy(np.stack(pictures))

    def limited(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        limit = self.config.conv_clamp * gain
        return x.clamp(-limit, limit) if limit else x

    def layer(self, name: str, x: torch.Tensor, w: torch.Tensor, noise: bool, gain: float = 1.0) -> torch.Tensor:
        weight = self.state[f"{name}.weight"] * self.affine(name, w)[:, None, None]
        weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        middle = self.config.kernel_size // 2
        if name.endswith("conv0"):  # the official code enlarges with a true convolution
            x = functional.conv2d(self.doubled(x, middle)[None], weight.flip(2, 3))[0]
        else:
            x = functional.conv2d(x[None], weight, padding=middle)[0]
        if noise and self.config.use_noise:
            x = x + self.state[f"{name}.noise_const"] * self.state[f"{name}.noise_strength"]
        x = ACTIVATIONS[self.config.activation](x + self.state[f"{name}.bias"][:, None, None]) * gain
        return self.limited(x, gain)

    def picture(self, ws: torch.Tensor, noise: bool) -> torch.Tensor:
        """[3, R, R] for [L, D]."""
        x, picture, used = self.state["b4.const"], None, 0
        for resolution in self.config.block_resolutions:
            name, given = f"b{resolution}", x
            shortcut = self.config.architecture == "resnet" and resolution > 4
            if resolution > 4:
                x, used = self.layer(f"{name}.conv0", x, ws[used], noise), used + 1
            x = self.layer(f"{name}.conv1", x, ws[used], noise, 0.5**0.5 if shortcut else 1.0)
            used += 1
            if shortcut:
                weight = self.state[f"{name}.skip.weight"] / len(given) ** 0.5
                x = x + self.doubled(functional.conv2d(given[None], weight)[0]) * 0.5**0.5
            picture = None if picture is None else self.doubled(picture)
            if self.config.architecture == "skip" or resolution == self.config.resolution:
                styles = self.affine(f"{name}.torgb", ws[used]) / len(x) ** 0.5
                rgb = functional.conv2d(x[None], self.state[f"{name}.torgb.weight"] * styles[:, None, None])[0]
                rgb = self.limited(rgb + self.state[f"{name}.torgb.bias"][:, None, None])
                picture = rgb if picture is None else picture + rgb
        assert picture is not None
        return picture


def shaken(**options: Any) -> StyleGAN2:
    """A generator in which nothing is zero or one."""
    torch.manual_seed(1)
    sizes = {"resolution": 16, "channels": (6, 5, 4), "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
    network = StyleGAN2(StyleGAN2Config(**{**sizes, **options})).requires_grad_(False)
    for value in network.state_dict().values():
        value.add_(0.2 * torch.randn(value.shape))
    return network


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("noise", [True, False])
def test_pictures_are_those_of_the_official_sums(options: dict[str, Any], noise: bool) -> None:
    network = shaken(**options).double()
    ws = torch.randn(3, 6, 8, dtype=torch.float64)
    reference = Published(network)
    wanted = torch.stack([reference.picture(codes, noise) for codes in ws])
    assert torch.allclose(network.synthesis(ws, "const" if noise else "none"), wanted, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_keeps_batches_apart_and_lets_gradients_through(options: dict[str, Any]) -> None:
    network, ws = shaken(**options).double(), torch.randn(3, 6, 8, dtype=torch.float64, requires_grad=True)
    pictures = network.synthesis(ws)
    singles = torch.cat([network.synthesis(one[None]) for one in ws])
    assert torch.allclose(pictures, singles, atol=1e-10)
    (gradient,) = torch.autograd.grad(pictures[1].square().sum(), ws)
    assert torch.equal(gradient.abs().amax((1, 2)) > 0, torch.tensor([False, True, False]))
    used = gradient[1].abs().amax(1) > 0
    assert used[-1] and used.sum() >= 4


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fewest_weights_are_no_more_than_there_are(options: dict[str, Any]) -> None:
    network = shaken(**options)
    assert network.config.fewest_weights <= sum(value.numel() for value in network.state_dict().values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"resolution": 24}, "power of two"),
        ({"resolution": 2}, "power of two"),
        ({"resolution": 32}, "3 blocks"),
        ({"channels": (4, 4)}, "2 blocks"),
        ({"kernel_size": 4}, "no middle"),
        ({"c_dim": 2, "label": 2}, "no class"),
    ],
)
def test_sizes_that_no_network_has_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StyleGAN2Config(**{"resolution": 16, "channels": (6, 5, 4), **options})


@pytest.mark.parametrize("architecture", ["orig", "resnet"])
def test_what_has_not_drawn_yet_has_no_smaller_picture(architecture: str) -> None:
    network = shaken(architecture=architecture)
    with pytest.raises(ValueError, match="8 px have drawn nothing"):
        network.synthesis_network(torch.randn(1, 6, 8), "none", 8)


def test_own_filter_is_a_weight_and_the_usual_one_is_not() -> None:
    assert "synthesis_network.fir" not in shaken().state_dict()
    assert shaken(resample_taps=3).state_dict()["synthesis_network.fir"].shape == (3, 3)


def published_convolution(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, up: bool) -> torch.Tensor:
    """Equations 1 and 3 of the paper: one modulated, demodulated weight per picture, in one grouped convolution."""
    count, channels, height, width = x.shape
    weights = weight[None] * styles[:, None, :, None, None]
    weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    stacked = x.reshape(1, count * channels, height, width)
    if up:
        turned = weights.transpose(1, 2).reshape(count * channels, -1, 3, 3)
        stacked = functional.conv_transpose2d(stacked, turned, stride=2, groups=count)
        filters = (FIR * 4).expand(stacked.shape[1], 1, 4, 4)
        stacked = functional.conv2d(stacked, filters, padding=1, groups=stacked.shape[1])
    else:
        stacked = functional.conv2d(stacked, weights.flatten(0, 1), padding=1, groups=count)
    return stacked.view(count, -1, *stacked.shape[2:])


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_is_the_papers_one_weight_per_picture(up: bool) -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(StyleGAN2Config(8, (5, 7), w_dim=4), 5, 7, 16 if up else 8, up=up).double()
    x, w = torch.randn(3, 5, 8, 8).double(), torch.randn(3, 4).double()
    wanted = published_convolution(x, layer.weight, layer.affine(w), up)
    wanted = functional.leaky_relu(wanted + layer.bias[:, None, None], 0.2) * 2**0.5
    assert torch.allclose(layer(x, w, "none", FIR), wanted, atol=1e-10)


def test_rgb_layer_is_modulated_and_not_demodulated() -> None:
    torch.manual_seed(0)
    layer = ToRGB(StyleGAN2Config(8, (5, 7), w_dim=4), 5).double()
    x, w = torch.randn(3, 5, 8, 8).double(), torch.randn(3, 4).double()
    styles = layer.affine(w) / 5**0.5
    wanted = torch.einsum("nchw,nc,kc->nkhw", x, styles, layer.weight[:, :, 0, 0]) + layer.bias[:, None, None]
    assert torch.allclose(layer(x, w), wanted, atol=1e-10)


@pytest.mark.parametrize(("resolution", "num_ws"), [(8, 4), (16, 6), (64, 10), (256, 14), (512, 16), (1024, 18)])
def test_number_of_codes_follows_from_the_size(resolution: int, num_ws: int) -> None:
    config = StyleGAN2Config(resolution, usual_channels(resolution))
    assert config.num_ws == num_ws
    assert config.block_resolutions[0] == 4 and config.block_resolutions[-1] == resolution


def test_channels_are_those_of_the_published_configuration() -> None:
    assert usual_channels(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_codes_and_pictures_have_the_promised_shapes(resolution: int) -> None:
    generator = tiny_generator(resolution=resolution)
    ws = generator.mapping(torch.randn(3, 8))
    assert ws.shape == (3, generator.num_ws, 8)
    assert generator.synthesis(ws).shape == (3, 3, resolution, resolution)
    assert generator.w_avg.shape == (8,)


def test_it_is_what_the_library_asks_of_a_generator(generator: StyleGAN2) -> None:
    assert isinstance(generator, Generator)


def test_mapping_gives_every_layer_the_same_code(generator: StyleGAN2) -> None:
    ws = generator.mapping(torch.randn(3, 8))
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    assert not torch.allclose(ws[0], ws[1])


def test_mapping_looks_only_at_the_direction_of_z(generator: StyleGAN2) -> None:
    z = torch.randn(3, 8)
    assert torch.allclose(generator.mapping(z), generator.mapping(5 * z), atol=1e-5)


def test_truncation_moves_straight_towards_the_mean(generator: StyleGAN2) -> None:
    z = torch.randn(4, 8)
    full = generator.mapping(z)
    assert torch.equal(generator.mapping(z, truncation_psi=1.0), full)
    assert torch.allclose(generator.mapping(z, truncation_psi=0.0), generator.w_avg.expand_as(full), atol=1e-6)
    wanted = generator.w_avg + 0.7 * (full - generator.w_avg)
    assert torch.allclose(generator.mapping(z, truncation_psi=0.7), wanted, atol=1e-6)


def test_batch_is_its_pictures_one_by_one(generator: StyleGAN2) -> None:
    ws = torch.randn(5, generator.num_ws, 8)
    singles = torch.cat([generator.synthesis(one[None]) for one in ws])
    assert torch.allclose(generator.synthesis(ws), singles, atol=1e-5)


def test_gradient_reaches_every_code_of_every_picture(generator: StyleGAN2) -> None:
    ws = torch.randn(2, generator.num_ws, 8, requires_grad=True)
    generator.synthesis(ws).square().sum().backward()
    assert ws.grad is not None
    assert (ws.grad.abs().amax(2) > 1e-6).all()


def test_every_code_changes_the_picture(generator: StyleGAN2) -> None:
    ws = torch.randn(1, generator.num_ws, 8)
    before = generator.synthesis(ws)
    for row in range(generator.num_ws):
        changed = ws.clone()
        changed[:, row] += 1
        assert (generator.synthesis(changed) - before).abs().max() > 1e-4


def test_codes_go_to_the_layers_that_the_official_model_gives_them(generator: StyleGAN2) -> None:
    """A block's picture and the next block's first layer share one."""
    seen: dict[str, int] = {}

    def watch(name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor], torch.Tensor], None]:
        def look(_: torch.nn.Module, given: tuple[torch.Tensor], __: torch.Tensor) -> None:
            seen[name] = int(given[0][0, 0])

        return look

    for name, module in generator.synthesis_network.named_modules():
        if name.endswith(".affine"):
            module.register_forward_hook(watch(name.removesuffix(".affine")))
    generator.synthesis(torch.arange(6.0).view(1, 6, 1).expand(1, 6, 8))
    assert seen == {
        "b4.conv1": 0, "b4.torgb": 1,
        "b8.conv0": 1, "b8.conv1": 2, "b8.torgb": 3,
        "b16.conv0": 3, "b16.conv1": 4, "b16.torgb": 5,
    }  # fmt: skip


def noisy() -> StyleGAN2:
    generator = tiny_generator()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    return generator


def test_constant_noise_is_the_same_every_time() -> None:
    generator, ws = noisy(), torch.randn(2, 6, 8)
    assert torch.equal(generator.synthesis(ws), generator.synthesis(ws))
    assert torch.equal(generator.synthesis(ws, "const"), generator.synthesis(ws))
    assert not torch.allclose(generator.synthesis(ws, "const"), generator.synthesis(ws, "none"))


def test_random_noise_is_another_every_time() -> None:
    generator, ws = noisy(), torch.randn(1, 6, 8)
    assert not torch.allclose(generator.synthesis(ws, "random"), generator.synthesis(ws, "random"))


@pytest.mark.parametrize("resolution", [4, 8, 16])
def test_asking_for_a_smaller_resolution_stops_there(generator: StyleGAN2, resolution: int) -> None:
    ws = torch.randn(2, generator.num_ws, 8)
    picture = generator.synthesis_network(ws, "none", resolution)
    assert picture.shape == (2, 3, resolution, resolution)


def test_later_blocks_add_to_what_the_earlier_drew(generator: StyleGAN2) -> None:
    ws = torch.randn(2, generator.num_ws, 8)
    last = generator.synthesis_network.get_submodule("b16").get_submodule("torgb")
    last.weight.zero_()  # type: ignore[operator]
    last.bias.zero_()  # type: ignore[operator]
    small, full = generator.synthesis_network(ws, "none", 8), generator.synthesis_network(ws, "none")
    filters = (FIR.float() * 4).expand(3, 1, 4, 4)
    assert torch.allclose(full, functional.conv_transpose2d(small, filters, stride=2, padding=1, groups=3), atol=1e-5)


def test_enlarging_keeps_a_flat_picture_flat() -> None:
    filters = (tiny_generator().synthesis_network.fir * 4).expand(1, 1, 4, 4)
    enlarged = functional.conv_transpose2d(torch.ones(1, 1, 8, 8), filters, stride=2, padding=1)
    assert torch.allclose(enlarged[:, :, 1:-1, 1:-1], torch.ones(1, 1, 14, 14))


def test_same_seed_is_the_same_network() -> None:
    ws = torch.randn(1, 6, 8)
    assert torch.equal(tiny_generator(3).synthesis(ws), tiny_generator(3).synthesis(ws))
    assert not torch.allclose(tiny_generator(3).synthesis(ws), tiny_generator(4).synthesis(ws))


def test_parameter_names_are_those_of_the_official_checkpoints(generator: StyleGAN2) -> None:
    names = {name.removeprefix("synthesis_network.") for name in generator.synthesis_network.state_dict()}
    conv = {"affine.weight", "affine.bias", "weight", "bias", "noise_strength", "noise_const"}
    assert {f"b8.conv0.{name}" for name in conv} | {f"b4.conv1.{name}" for name in conv} <= names
    assert {"b4.const", "b16.torgb.affine.weight", "b16.torgb.weight", "b16.torgb.bias"} <= names
    assert not any(name.startswith("b4.conv0") for name in names)
    assert {"fc0.weight", "fc1.bias", "w_avg"} <= set(generator.mapping_network.state_dict())
