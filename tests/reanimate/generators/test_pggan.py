"""Progressive growing; tests/reanimate/checkpoints/formats compares whole networks with the official formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from reanimate.generators.pggan import PGGAN, PGGANConfig, doubled, grown, normalized, transformed
from reanimate.generators.protocol import Generator


def tiny(resolution: int = 16, **more: Any) -> PGGAN:
    torch.manual_seed(0)
    channels = tuple(range(8, 10 - resolution.bit_length(), -1))
    return PGGAN(PGGANConfig(resolution, channels, z_dim=7, **more)).eval().requires_grad_(False)


@pytest.mark.parametrize("resolution", [8, 16, 64])
def test_pictures_have_the_promised_shape_and_z_is_the_only_code(resolution: int) -> None:
    generator = tiny(resolution)
    assert isinstance(generator, Generator)
    z = torch.randn(3, 7)
    ws = generator.mapping(z, truncation_psi=0.5, truncation_cutoff=1)
    assert torch.equal(ws, z[:, None])
    assert (generator.num_ws, generator.w_dim, generator.has_w) == (1, 7, False)
    assert torch.equal(generator.w_avg, torch.zeros(7))
    picture = generator.synthesis(ws)
    assert picture.shape == (3, 3, resolution, resolution)
    assert picture.is_contiguous()
    assert torch.equal(generator.synthesis(ws, noise_mode="random"), picture)


def test_doubling_layer_spreads_each_pixel_over_its_four_by_four_taps() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(2, 5, 4, 4)
    wanted = torch.zeros(1, 5, 8, 8)
    for i in range(3):
        for j in range(3):
            wanted[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += torch.einsum("nc,cohw->nohw", x[:, :, i, j], weight)
    assert torch.allclose(transformed("double", x, weight, None), wanted[:, :, 1:-1, 1:-1], atol=1e-5)


def test_doubling_layer_is_doubled_pixels_under_a_convolution() -> None:
    torch.manual_seed(0)
    x, taps = torch.randn(1, 2, 5, 5), torch.randn(4, 2, 3, 3)
    weight = torch.zeros(2, 4, 4, 4)
    for i in range(2):
        for j in range(2):
            weight[:, :, i : i + 3, j : j + 3] += taps.flip(2, 3).transpose(0, 1)
    wanted = functional.conv2d(doubled(x), taps, padding=1)
    assert torch.allclose(transformed("double", x, weight, None), wanted, atol=1e-5)


def test_pixel_norm_gives_every_position_a_unit_second_moment() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert torch.allclose(normalized(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]) * 2**0.5)
    assert torch.allclose(normalized(x, epsilon=12.5)[0], torch.tensor([0.6, 0.8]))
    assert torch.allclose(normalized(torch.randn(2, 5, 3, 3)).square().mean(1), torch.ones(2, 3, 3))


def test_blocks_fade_in_one_after_the_other() -> None:
    small, middle, large = (torch.full([1, 3, side, side], value) for side, value in ((4, 1.0), (8, 2.0), (16, 4.0)))
    cases = {0.0: 4.0, 0.25: 3.5, 1.0: 2.0, 1.75: 1.25, 2.0: 1.0}
    for lod, value in cases.items():
        drawn = [small, middle, large][: 3 - int(lod)]
        assert torch.equal(grown(drawn, lod), torch.full([1, 3, 16, 16], value)), lod


def test_every_pixel_of_an_earlier_block_is_repeated() -> None:
    picture = torch.arange(48.0).view(1, 3, 4, 4)
    assert torch.equal(grown([picture], 1), picture.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize(("lod", "blocks"), [(0.0, 3), (0.5, 3), (1.0, 2), (2.0, 1)])
def test_blocks_that_have_not_grown_in_are_not_run(lod: float, blocks: int) -> None:
    generator, seen = tiny(lod=lod), []
    for side in (4, 8, 16):
        generator.get_submodule(f"b{side}").register_forward_hook(lambda *_, side=side: seen.append(side))
    picture = generator.synthesis(generator.mapping(torch.randn(1, 7)))
    assert seen == [4, 8, 16][:blocks]
    assert picture.shape == (1, 3, 16, 16)
    coarse = doubled(functional.avg_pool2d(picture, 2 ** int(lod)), int(lod))
    assert torch.allclose(coarse, picture, atol=1e-5)


def test_class_is_the_configurations_unless_the_codes_bring_one_along() -> None:
    first, second = tiny(c_dim=3), tiny(c_dim=3, label=2)
    z, one_hot = torch.randn(2, 7), torch.eye(3)
    told = first.synthesis(first.mapping(z, one_hot[[0, 2]]))
    assert torch.allclose(told[:1], first.synthesis(first.mapping(z[:1])), atol=1e-5)
    assert torch.allclose(told[1:], second.synthesis(second.mapping(z[1:])), atol=1e-5)
    assert not torch.allclose(told[1:], first.synthesis(first.mapping(z[1:])), atol=1e-3)


def test_one_picture_does_not_depend_on_the_others() -> None:
    generator, z = tiny(), torch.randn(3, 7)
    together = generator.synthesis(generator.mapping(z))
    assert torch.allclose(together[1:2], generator.synthesis(generator.mapping(z[1:2])), atol=1e-5)


def test_picture_leads_back_to_z() -> None:
    generator = tiny(8).double()
    ws = generator.mapping(torch.randn(1, 7).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda ws: generator.synthesis(ws)[:, :, ::3, ::3], ws)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"resolution": 24}, "power of two"),
        ({"resolution": 4, "channels": (4,)}, "power of two"),
        ({"resolution": 32}, "3 blocks"),
        ({"lod": 2.1}, "lod 2.1"),
        ({"lod": -0.1}, "lod -0.1"),
        ({"lod": float("nan")}, "lod nan"),
        ({"label": 1}, "no class 1"),
        ({"c_dim": 2, "label": 2}, "no class 2"),
        ({"c_dim": 2, "label": -1}, "no class -1"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PGGANConfig(**{"resolution": 16, "channels": (6, 5, 4), **sizes})


def test_least_size_is_near_the_true_one() -> None:
    generator = PGGAN(PGGANConfig(32, (64, 64, 32, 16), z_dim=48, c_dim=2))
    size = sum(value.numel() for value in generator.state_dict().values())
    assert size / 4 < generator.config.fewest_weights <= size
