from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.errors import ConfigError
from reanimate.generators.stylegan2 import Architecture, StyleGAN2, StyleGAN2Config
from reanimate.inversion.features import FaceFeatures, FaceFeaturesConfig
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import FaceLoss, MultiScaleLoss
from reanimate.inversion.precision import in_bfloat16, multiplies_bfloat16, working

PARAMS = InvertParams(first_steps=60, precision="bfloat16")


class Plain(torch.nn.Module):
    """A family that knows float32 only."""

    w_avg = torch.zeros(8)


def codes_of(generator: StyleGAN2, count: int = 2) -> torch.Tensor:
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1))
    return generator.mapping(z)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("noise", ["none", "const", "maps"])
def test_pictures_in_bfloat16_are_nearly_the_same_float32_numbers(architecture: Architecture, noise: str) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(resolution=16, channels=(16, 16, 8), w_dim=16, architecture=architecture))
    generator.eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.1)
    mode = [torch.randn(2, 1, r, r) for r in (4, 8, 8, 16, 16)] if noise == "maps" else noise
    exact, near = (g.synthesis(codes_of(generator), mode) for g in (generator, in_bfloat16(generator)))  # type: ignore[arg-type]
    assert near.dtype == torch.float32
    assert 0 < float((near - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_styles_stay_exact() -> None:
    generator = tiny_generator()
    other = in_bfloat16(generator)
    assert torch.equal(codes_of(other), codes_of(generator))
    kept = {name: value.dtype for name, value in other.named_parameters() if "affine" in name}
    assert set(kept.values()) == {torch.float32}
    assert {value.dtype for value in generator.parameters()} == {torch.float32}  # the generator itself is left alone


def test_features_are_compared_in_float32() -> None:
    network = FaceFeatures(FaceFeaturesConfig()).requires_grad_(False)
    _, loss = working(tiny_generator(), FaceLoss(network, 2), "bfloat16")
    assert isinstance(loss, FaceLoss) and loss.pixels.norm == 2
    maps = loss.network(torch.rand(1, 3, 32, 32))
    assert {x.dtype for x in maps} == {torch.float32} and loss.network.window.dtype == torch.float32


def test_loss_of_a_solution_is_that_of_its_picture_in_float32() -> None:
    generator = tiny_generator()
    target = generator.synthesis(codes_of(generator)).clamp(-1, 1)
    inverter = Inverter(generator, tiny_encoder(generator), MultiScaleLoss(), PARAMS)
    for solution, start in ((inverter.first(target), 0), (inverter.shared(target), inverter.start(target))):
        exact = inverter.loss(inverter.draw(start + solution.variable), inverter.loss.prepare(target)).detach()
        assert torch.equal(solution.loss, exact.view(len(solution.variable), -1).mean(1))


def test_bfloat16_fits_nearly_as_well() -> None:
    generator = tiny_generator()
    target = generator.synthesis(codes_of(generator, 4)).clamp(-1, 1)
    exact, near = (
        Inverter(generator, None, MultiScaleLoss(), replace(PARAMS, init="mean", precision=precision))
        .first(target)
        .loss
        for precision in ("float32", "bfloat16")
    )
    assert float(near.mean()) < 1.1 * float(exact.mean())


def test_auto_is_bfloat16_where_a_device_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, loss = tiny_generator(), MultiScaleLoss()
    for name, found in product(("amx_bf16", "avx512_bf16"), (True, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name, found=found: {name: found})
        assert multiplies_bfloat16(torch.device("cpu")) is found
        assert (working(generator, loss, "auto")[0] is generator) is not found
        assert working(generator, loss, "float32") == (generator, loss)
        plain = Plain()
        assert working(plain, loss, "auto")[0] is plain  # type: ignore[arg-type, comparison-overlap]


def test_other_families_refuse_it() -> None:
    with pytest.raises(ConfigError, match="float32 only"):
        working(Plain(), MultiScaleLoss(), "bfloat16")  # type: ignore[arg-type]
