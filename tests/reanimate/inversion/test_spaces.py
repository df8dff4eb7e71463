from __future__ import annotations

import re

import pytest
import torch

from reanimate.errors import ConfigError
from reanimate.generators.mescheder import Mescheder, MeschederConfig
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.spaces import Space, check_space, from_ws, mean, to_ws, zeros

SHAPES: list[tuple[Space, tuple[int, ...]]] = [("z", (3, 8)), ("w", (3, 1, 8)), ("w+", (3, 6, 8))]


@pytest.mark.parametrize(("space", "shape"), SHAPES)
def test_starts_have_the_shape_of_their_space_and_become_codes(
    generator: StyleGAN2, space: Space, shape: tuple[int, ...]
) -> None:
    for make in (zeros, mean):
        variable = make(generator, space, 3)
        assert variable.shape == shape
        assert to_ws(generator, space, variable).shape == (3, 6, 8)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_zeros_are_zeros(generator: StyleGAN2, space: Space) -> None:
    assert not zeros(generator, space, 2).any()


@pytest.mark.parametrize("space", ["w", "w+"])
def test_mean_is_the_mean_of_w_in_every_layer(generator: StyleGAN2, space: Space) -> None:
    codes = to_ws(generator, space, mean(generator, space, 2))
    assert torch.allclose(codes, generator.w_avg.expand_as(codes))
    assert generator.w_avg.abs().max() > 0


def test_z_goes_through_the_mapping(generator: StyleGAN2) -> None:
    z = torch.randn(3, 8)
    assert torch.equal(to_ws(generator, "z", z), generator.mapping(z))


def test_w_is_one_code_for_all_layers(generator: StyleGAN2) -> None:
    w = torch.randn(3, 1, 8)
    ws = to_ws(generator, "w", w)
    assert all(torch.equal(ws[:, i], w[:, 0]) for i in range(6))


def test_w_plus_is_the_codes_themselves(generator: StyleGAN2) -> None:
    ws = torch.randn(3, 6, 8)
    assert torch.equal(to_ws(generator, "w+", ws), ws)
    assert torch.equal(from_ws(generator, "w+", ws), ws)


def test_nearest_w_to_codes_is_their_mean(generator: StyleGAN2) -> None:
    ws = torch.randn(3, 6, 8)
    assert torch.allclose(from_ws(generator, "w", ws), ws.mean(1, keepdim=True))
    w = torch.randn(3, 1, 8)
    assert torch.allclose(from_ws(generator, "w", to_ws(generator, "w", w)), w, atol=1e-6)


def test_z_has_no_way_back(generator: StyleGAN2) -> None:
    assert torch.equal(from_ws(generator, "z", torch.randn(3, 6, 8)), torch.zeros(3, 8))


@pytest.fixture
def plain() -> Mescheder:
    """A generator without styles."""
    torch.manual_seed(0)
    return Mescheder(MeschederConfig(16, (8, 4, 4), "resnet", 8, 1)).eval().requires_grad_(False)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_generator_without_styles_has_no_w(plain: Mescheder, space: Space) -> None:
    check_space(space, True, "a")
    with pytest.raises(ConfigError, match=re.escape(f"a is no style generator and has no {space}; use z")):
        check_space(space, False, "a")
    with pytest.raises(ConfigError, match="Mescheder is no style generator"):
        Inverter(plain, None, MultiScaleLoss(), InvertParams(space=space))


def test_generator_without_styles_is_inverted_in_z(plain: Mescheder) -> None:
    target = plain.synthesis(plain.mapping(torch.randn(2, 8)))
    inverter = Inverter(plain, None, MultiScaleLoss(), InvertParams(space="z", first_steps=60))
    first = MultiScaleLoss()(plain.synthesis(plain.mapping(torch.zeros(2, 8))), MultiScaleLoss().prepare(target))
    solution = inverter.first(target)
    assert solution.variable.shape == (2, 8)
    assert torch.equal(solution.ws, solution.variable[:, None])
    assert (solution.loss < 0.5 * first).all()
