"""A generator draws what is lacking: from what is known alone, and better than knowing nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.generators.mescheder import Mescheder, MeschederConfig
from reanimate.inversion.invert import PRESETS
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.restore.degradations import downsample, random_square
from reanimate.restore.dip import DeepImagePrior, DipParams
from reanimate.restore.priors import GeneratorPrior, Plain, Prior

PARAMS = replace(PRESETS["fast"], first_steps=60, optimiser="adam", lr=0.25)


@pytest.fixture
def prior() -> GeneratorPrior:
    return GeneratorPrior(tiny_generator(), None, MultiScaleLoss(), PARAMS)


@pytest.fixture
def own() -> torch.Tensor:
    """Pictures [2, 3, R, R] of the prior's own domain."""
    generator = tiny_generator()
    z = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(3))
    return generator.synthesis(generator.mapping(z)).clamp(-1, 1)


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean())


def test_hole_in_its_own_picture_is_drawn_as_it_was(prior: GeneratorPrior, own: torch.Tensor) -> None:
    holes = torch.cat([random_square(16, 6, seed) for seed in (0, 1)])
    drawn = prior.inpaint(own.masked_fill(holes, -1), holes)
    smooth = Plain().inpaint(own.masked_fill(holes, -1), holes)
    assert error(drawn * holes, own * holes) < 0.5 * error(smooth * holes, own * holes)


def test_what_the_hole_shows_does_not_matter(own: torch.Tensor) -> None:
    generator, hole = tiny_generator(), random_square(16, 6, 0)
    prior = GeneratorPrior(generator, tiny_encoder(generator), MultiScaleLoss(), replace(PARAMS, first_steps=5))
    a, b = (prior.inpaint(own.masked_fill(hole, value), hole) for value in (-1.0, 0.5))
    assert torch.equal(a, b)


def test_its_own_picture_is_enlarged_better_than_bicubically(prior: GeneratorPrior, own: torch.Tensor) -> None:
    small = downsample(own, 4, "area")
    drawn, plain = prior.upscale(small, 4, "area"), Plain().upscale(small, 4, "area")
    assert error(drawn, own) < 0.5 * error(plain, own)


@pytest.mark.parametrize("how", ["nearest", "area", "bicubic"])
def test_what_is_drawn_becomes_the_small_picture(prior: GeneratorPrior, own: torch.Tensor, how: str) -> None:
    small = downsample(own, 4, how)
    drawn = prior.upscale(small, 4, how)
    assert error(downsample(drawn, 4, how), small) < 0.1 * float(small.var())


def test_a_generator_without_styles_is_a_prior_too(own: torch.Tensor) -> None:
    torch.manual_seed(0)
    generator = Mescheder(MeschederConfig(16, (8, 4, 4), "resnet", 8, 3)).eval().requires_grad_(False)
    prior = GeneratorPrior(generator, None, MultiScaleLoss(), replace(PARAMS, space="z", first_steps=5))
    hole = random_square(16, 4, 0)
    for drawn in (prior.reconstruct(own), prior.inpaint(own, hole), prior.upscale(own[..., ::4, ::4], 4, "nearest")):
        assert drawn.shape == own.shape
        assert torch.isfinite(drawn).all()


def test_passes_are_counted(prior: GeneratorPrior, own: torch.Tensor) -> None:
    passes: list[int] = []
    params = replace(PARAMS, first_steps=3)
    GeneratorPrior(prior.generator, None, prior.loss, params).reconstruct(own, lambda: passes.append(1))
    assert len(passes) == 3


def test_all_priors_keep_the_same_promise(prior: GeneratorPrior, own: torch.Tensor) -> None:
    dip = DeepImagePrior(DipParams(steps=1, channels=4, input_channels=2, levels=1))
    hole = random_square(16, 4, 0)
    each: tuple[Prior, ...] = (prior, dip, Plain())
    for one in each:
        for drawn in (one.reconstruct(own), one.inpaint(own, hole), one.upscale(own[..., ::2, ::2], 2, "nearest")):
            assert drawn.shape == own.shape
            assert drawn.abs().max() <= 1.5
            assert not drawn.requires_grad
