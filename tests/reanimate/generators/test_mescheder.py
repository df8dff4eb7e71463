from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from reanimate.generators.mescheder import Mescheder, MeschederConfig, ResidualBlock, Variant
from reanimate.generators.protocol import Generator

LAYOUTS: list[tuple[Variant, int, tuple[int, ...], int]] = [
    ("resnet", 16, (6, 4, 4, 2), 4),
    ("resnet2", 32, (4, 4, 4, 4, 4, 4, 2), 1),
    ("resnet3", 64, (4, 4, 4, 4, 4, 4, 2), 1),
    ("resnet4", 128, (4, 4, 4, 4, 4, 4, 4, 2), 2),
]


def tiny(
    variant: Variant = "resnet", resolution: int = 16, channels: tuple[int, ...] = (6, 4, 4, 2), **more: Any
) -> Mescheder:
    torch.manual_seed(0)
    config = MeschederConfig(resolution, channels, variant, z_dim=8, embed_size=3, **more)
    return Mescheder(config).eval().requires_grad_(False)


@pytest.mark.parametrize(("variant", "resolution", "channels", "start"), LAYOUTS)
def test_every_variant_draws_at_its_resolution(
    variant: Variant, resolution: int, channels: tuple[int, ...], start: int
) -> None:
    generator = tiny(variant, resolution, channels)
    assert isinstance(generator, Generator)
    assert generator.config.start == start
    ws = generator.mapping(torch.randn(2, 8))
    assert ws.shape == (2, generator.num_ws, generator.w_dim) == (2, 1, 8)
    picture = generator.synthesis(ws)
    assert picture.shape == (2, 3, resolution, resolution)
    assert 0 < picture.abs().max() <= 1


def test_block_is_a_tenth_of_two_convolutions_beside_its_shortcut() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 2), torch.randn(1, 4, 5, 5)
    assert block.conv_s is not None
    y = functional.conv2d(functional.leaky_relu(x, 0.2), block.conv_0.weight, block.conv_0.bias, padding=1)
    y = functional.conv2d(functional.leaky_relu(y, 0.2), block.conv_1.weight, block.conv_1.bias, padding=1)
    assert torch.allclose(block(x), functional.conv2d(x, block.conv_s.weight) + 0.1 * y, atol=1e-6)
    assert ResidualBlock(4, 4).conv_s is None


@pytest.mark.parametrize(("variant", "resolution", "channels", "_"), LAYOUTS)
def test_length_of_an_embedding_counts_where_it_is_not_normalised(
    variant: Variant, resolution: int, channels: tuple[int, ...], _: int
) -> None:
    generator = tiny(variant, resolution, channels)
    ws = generator.mapping(torch.randn(1, 8))
    before = generator.synthesis(ws)
    generator.embedding.weight *= 3
    same = torch.allclose(generator.synthesis(ws), before, atol=1e-6)
    assert same == (variant in ("resnet", "resnet2"))


def test_class_is_the_configurations_unless_the_codes_bring_one_along() -> None:
    first, second = tiny(c_dim=3), tiny(c_dim=3, label=2)
    z, one_hot = torch.randn(2, 8), torch.eye(3)
    told = first.synthesis(first.mapping(z, one_hot[[0, 2]]))
    assert torch.allclose(told[:1], first.synthesis(first.mapping(z[:1])), atol=1e-6)
    assert torch.allclose(told[1:], second.synthesis(second.mapping(z[1:])), atol=1e-6)
    assert not torch.allclose(told[1:], first.synthesis(first.mapping(z[1:])), atol=1e-3)


def test_one_picture_does_not_depend_on_the_others() -> None:
    generator, z = tiny(), torch.randn(3, 8)
    together = generator.synthesis(generator.mapping(z))
    assert torch.allclose(together[1:2], generator.synthesis(generator.mapping(z[1:2])), atol=1e-6)


def test_picture_leads_back_to_z() -> None:
    generator, z = tiny(), torch.randn(1, 8, requires_grad=True)
    generator.synthesis(generator.mapping(z)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None and z.grad.abs().max() > 0


@pytest.mark.parametrize(
    "sizes",
    [
        {"resolution": 18},
        {"channels": (4,)},
        {"channels": (4,) * 10},
        {"c_dim": 2, "label": 2},
        {"label": 1},
        {"label": -1},
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        MeschederConfig(**{"resolution": 16, "channels": (6, 4, 4, 2), "variant": "resnet", **sizes})


@pytest.mark.parametrize(("variant", "resolution", "channels", "_"), LAYOUTS)
def test_least_size_is_near_the_true_one(variant: Variant, resolution: int, channels: tuple[int, ...], _: int) -> None:
    generator = tiny(variant, resolution, tuple(8 * c for c in channels), c_dim=2)
    size = sum(value.numel() for value in generator.state_dict().values())
    assert size / 4 < generator.config.fewest_weights <= size
