"""StyleGAN; tests/reanimate/checkpoints/formats compares whole networks with the official formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from reanimate.generators.pggan import transformed
from reanimate.generators.protocol import Generator
from reanimate.generators.stylegan1 import StyleGAN1, StyleGAN1Config, SynthesisLayer

OPTIONS: list[dict[str, Any]] = [
    {},
    {"pixel_norm": True, "activation": "relu", "blur": ()},
    {"instance_norm": False, "noise": False},
    {"styles": False, "const_input": False},
    {"styles": False, "const_input": False, "instance_norm": False, "pixel_norm": True},
    {"lod": 0.5},
]


def sizes(resolution: int = 16, **more: Any) -> StyleGAN1Config:
    channels = tuple(range(8, 10 - resolution.bit_length(), -1))
    given = {"z_dim": 7, "w_dim": 6, "mapping_layers": 2, "mapping_width": 5, **more}
    return StyleGAN1Config(resolution, channels, **given)


def tiny(resolution: int = 16, **more: Any) -> StyleGAN1:
    torch.manual_seed(0)
    generator = StyleGAN1(sizes(resolution, **more)).eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            value.normal_()
    generator.w_avg.normal_()
    return generator


@pytest.mark.parametrize(("resolution", "num_ws"), [(8, 4), (16, 6), (64, 10)])
def test_codes_and_pictures_have_the_promised_shapes(resolution: int, num_ws: int) -> None:
    generator = tiny(resolution)
    assert isinstance(generator, Generator)
    ws = generator.mapping(torch.randn(3, 7))
    assert ws.shape == (3, num_ws, 6)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    picture = generator.synthesis(ws)
    assert picture.shape == (3, 3, resolution, resolution)
    assert picture.is_contiguous()


def test_largest_published_size_can_be_drawn() -> None:
    config = StyleGAN1Config(1024, (4,) * 9, z_dim=8, w_dim=8, mapping_width=8)
    generator = StyleGAN1(config).eval().requires_grad_(False)
    assert generator.num_ws == 18
    assert generator.synthesis(generator.mapping(torch.randn(1, 8))).shape == (1, 3, 1024, 1024)


def test_layer_is_noise_activation_norm_and_style_in_this_order() -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(sizes(), "plain", 4, 5, 8).double().requires_grad_(False)
    layer.noise_strength.normal_()
    layer.bias.normal_()
    x, w = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 6).double()
    y = functional.conv2d(x, layer.weight, padding=1)
    y += layer.noise_strength[:, None, None] * layer.noise_const + layer.bias[:, None, None]
    y = torch.where(y < 0, 0.2 * y, y)
    y = (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), correction=0, keepdim=True) + 1e-8).sqrt()
    scale, shift = (w @ layer.style.weight.T + layer.style.bias).view(2, 2, 5, 1, 1).unbind(1)
    assert torch.allclose(layer(x, w, "const"), y * (1 + scale) + shift, atol=1e-10)


def test_doubled_activations_are_blurred_before_the_bias() -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(sizes(noise=False, styles=False, const_input=False, instance_norm=False), "double", 4, 5, 8)
    layer = layer.double().requires_grad_(False)
    layer.bias.fill_(3)
    x = torch.randn(1, 4, 4, 4).double()
    y = functional.pad(transformed("double", x, layer.weight, None), (1, 1, 1, 1))
    y = (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) / 4
    y = (y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]) / 4
    wanted = functional.leaky_relu(y + 3, 0.2)
    assert torch.allclose(layer(x, torch.zeros(1, 6).double(), "const"), wanted, atol=1e-10)


@pytest.mark.parametrize("cutoff", [None, 0, 2, 6, 99])
def test_truncation_draws_the_first_codes_towards_the_mean(cutoff: int | None) -> None:
    generator, z = tiny(), torch.randn(3, 7)
    full, ws = generator.mapping(z), generator.mapping(z, None, 0.7, cutoff)
    first = 6 if cutoff is None else cutoff
    assert torch.allclose(ws[:, :first], generator.w_avg + 0.7 * (full - generator.w_avg)[:, :first], atol=1e-5)
    assert torch.equal(ws[:, first:], full[:, first:])


def test_class_is_the_configurations_unless_one_is_given() -> None:
    first, second = tiny(c_dim=3), tiny(c_dim=3, label=2)
    z, one_hot = torch.randn(2, 7), torch.eye(3)
    told = first.mapping(z, one_hot[[0, 2]])
    assert torch.allclose(told[:1], first.mapping(z[:1]), atol=1e-5)
    assert torch.allclose(told[1:], second.mapping(z[1:]), atol=1e-5)
    assert not torch.allclose(told[1:], first.mapping(z[1:]), atol=1e-3)


def test_noise_is_the_stored_one_or_none_or_drawn_anew() -> None:
    generator = tiny()
    ws = generator.mapping(torch.randn(1, 7)).repeat(2, 1, 1)
    const, none, random = (generator.synthesis(ws, mode) for mode in ("const", "none", "random"))
    assert torch.allclose(const[0], const[1], atol=1e-5) and torch.allclose(none[0], none[1], atol=1e-5)
    assert not torch.allclose(random[0], random[1], atol=1e-3), "each picture has its own"
    assert not torch.allclose(const, none, atol=1e-3)
    for name, value in generator.named_buffers():
        if name.endswith("noise_const"):
            value.zero_()
    assert torch.allclose(generator.synthesis(ws), none, atol=1e-5)


def test_every_layer_heeds_its_own_code() -> None:
    generator = tiny()
    ws = generator.mapping(torch.randn(1, 7))
    before: dict[str, torch.Tensor] = {}
    after: dict[str, torch.Tensor] = {}
    names = [f"b{side}.layer{i}" for side in (4, 8, 16) for i in (0, 1)]
    kept = before
    for name in names:
        module = generator.synthesis_network.get_submodule(name)
        module.register_forward_hook(lambda _, inputs, output, name=name: kept.update({name: output}))
    generator.synthesis(ws)
    for i, name in enumerate(names):
        kept = after
        generator.synthesis(ws + torch.eye(6)[i][None, :, None])
        changed = [other for other in names if not torch.equal(after[other], before[other])]
        assert changed == names[i:], name


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_picture_does_not_depend_on_the_others(options: dict[str, Any]) -> None:
    generator, z = tiny(**options), torch.randn(3, 7)
    together = generator.synthesis(generator.mapping(z))
    assert torch.allclose(together[1:2], generator.synthesis(generator.mapping(z[1:2])), atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_picture_leads_back_to_every_code(options: dict[str, Any]) -> None:
    generator = tiny(8, **options).double()
    ws = generator.mapping(torch.randn(2, 7).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda ws: generator.synthesis(ws)[:, :, ::3, ::3], ws)
    (gradient,) = torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)
    assert (gradient.abs().amax(2) > 0).all()


def test_z_is_normalised_before_it_is_mapped_unless_the_model_does_not() -> None:
    z = torch.randn(2, 7)
    for normalize in (True, False):
        generator = tiny(normalize_z=normalize)
        assert torch.allclose(generator.mapping(z), generator.mapping(3 * z), atol=1e-5) == normalize


def test_without_mapping_layers_a_code_is_z() -> None:
    generator = tiny(mapping_layers=0, z_dim=6, normalize_z=False)
    z = torch.randn(2, 6)
    assert torch.equal(generator.mapping(z), z[:, None].expand(-1, 6, -1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"resolution": 24}, "power of two"),
        ({"resolution": 4, "channels": (4,)}, "power of two"),
        ({"resolution": 32}, "3 blocks"),
        ({"lod": 2.1}, "lod 2.1"),
        ({"c_dim": 2, "label": 2}, "no class 2"),
        ({"styles": False}, "heeds no code"),
        ({"blur": (1, 2)}, "odd number"),
        ({"blur": (0, 1, -1)}, "sum to zero"),
        ({"mapping_layers": 0, "z_dim": 7}, "7 wide, not 512"),
        ({"mapping_layers": 0, "c_dim": 2}, "1024 wide, not 512"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StyleGAN1Config(**{"resolution": 16, "channels": (6, 5, 4), **options})


@pytest.mark.parametrize("options", [*OPTIONS, {"mapping_layers": 0, "z_dim": 64}, {"mapping_layers": 1}], ids=str)
def test_least_size_is_near_the_true_one(options: dict[str, Any]) -> None:
    config = StyleGAN1Config(32, (64, 64, 32, 16), **{"z_dim": 48, "w_dim": 64, "mapping_width": 40, **options})
    size = sum(value.numel() for value in StyleGAN1(config).state_dict().values())
    assert size / 4 < config.fewest_weights <= size
