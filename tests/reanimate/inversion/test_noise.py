"""Noise maps: given to a generator, and found by optimisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.errors import ConfigError
from reanimate.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.spaces import as_maps, mean, stored_noise

PLAIN = InvertParams(init="mean", optimiser="adam", lr=0.05, first_steps=60)


def loud(strength: float = 0.3) -> StyleGAN2:
    """A generator whose noise is seen."""
    generator = tiny_generator()
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(strength)
    return generator


def loud_stylegan1() -> StyleGAN1:
    torch.manual_seed(0)
    generator = StyleGAN1(StyleGAN1Config(resolution=16, channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_width=8))
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(value, 0.3)
    return generator.eval().requires_grad_(False)


@pytest.mark.parametrize("make", [loud, loud_stylegan1])
def test_stored_maps_given_as_noise_draw_what_stored_noise_draws(make: object) -> None:
    generator = make()  # type: ignore[operator]
    ws = torch.randn(2, generator.num_ws, 8, generator=torch.Generator().manual_seed(0))
    maps = as_maps(generator, stored_noise(generator, 2))
    torch.testing.assert_close(generator.synthesis(ws, maps), generator.synthesis(ws), rtol=1e-4, atol=1e-5)
    doubled = generator.synthesis(ws, [2 * one for one in maps])
    assert not torch.allclose(doubled, generator.synthesis(ws), atol=1e-3)


def test_every_picture_of_a_batch_has_noise_of_its_own() -> None:
    generator = loud()
    ws = mean(generator, "w+", 2)
    noise = stored_noise(generator, 2)
    noise[1] = -noise[1]
    together = generator.synthesis(ws, as_maps(generator, noise))
    alone = [generator.synthesis(ws[:1], as_maps(generator, one[None])) for one in noise]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_noise_space_changes_noise_and_no_code() -> None:
    generator = loud()
    target = generator.synthesis(mean(generator, "w+", 1), as_maps(generator, -stored_noise(generator, 1)))
    inverter = Inverter(generator, None, MultiScaleLoss(), replace(PLAIN, space="noise", lr=0.1))
    before = Inverter(generator, None, MultiScaleLoss(), replace(inverter.params, first_steps=0)).first(target)
    solution = inverter.first(target)
    assert torch.equal(solution.ws, mean(generator, "w+", 1))
    assert float(solution.loss) < 0.5 * float(before.loss)
    drawn = MultiScaleLoss()(inverter.draw(solution.variable), MultiScaleLoss().prepare(target))
    torch.testing.assert_close(drawn, solution.loss)


def test_noise_beside_codes_comes_closer_than_codes_alone() -> None:
    generator = loud()
    target = generator.synthesis(
        torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1)),
        as_maps(generator, -stored_noise(generator, 1)),
    )
    fixed = Inverter(generator, None, MultiScaleLoss(), PLAIN).first(target)
    inverter = Inverter(generator, None, MultiScaleLoss(), replace(PLAIN, noise=True))
    free = inverter.first(target)
    assert fixed.noise is None and free.noise is not None
    assert float(free.loss) < 0.95 * float(fixed.loss)
    drawn = MultiScaleLoss()(inverter.draw(free.variable, free.noise), MultiScaleLoss().prepare(target))
    torch.testing.assert_close(drawn, free.loss)


@pytest.mark.parametrize("changes", [{"space": "noise"}, {"noise": True}])
def test_model_that_draws_nothing_of_its_noise_is_refused(changes: dict[str, object]) -> None:
    generator = loud(0.0)
    with pytest.raises(ConfigError, match="draws nothing of noise maps"):
        Inverter(generator, tiny_encoder(generator), MultiScaleLoss(), replace(PLAIN, **changes))  # type: ignore[arg-type]


def test_shared_offset_leaves_noise_alone() -> None:
    generator = loud()
    encoder = tiny_encoder(generator)
    inverter = Inverter(generator, encoder, MultiScaleLoss(), replace(PLAIN, init="encoder", noise=True))
    assert inverter.shared(generator.synthesis(mean(generator, "w+", 2))).noise is None
