from __future__ import annotations

import torch
from conftest import tiny_generator

from reanimate.generators.resampling import convolve
from reanimate.generators.stylegan2 import usual_filter
from reanimate.training.mixed import filtered, synthesise


def test_full_precision_is_the_generator_itself() -> None:
    generator = tiny_generator()
    ws = generator.mapping(torch.randn(3, 8)) + 0.1 * torch.randn(3, 6, 8)
    assert torch.allclose(
        synthesise(generator.synthesis_network, ws, torch.float32), generator.synthesis(ws, "none"), atol=1e-5
    )


def test_low_precision_is_near_and_sums_pictures_in_float32() -> None:
    generator = tiny_generator()
    ws = generator.mapping(torch.randn(3, 8))
    exact = generator.synthesis(ws, "none")
    rounded = synthesise(generator.synthesis_network, ws, torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).abs().mean()) < 0.02 * float(exact.abs().mean())
    steps = rounded.flatten().unique()
    assert len(steps) > 0.9 * rounded.numel()  # bfloat16 knows 256 numbers between 1 and 2: these are more


def test_filter_is_the_generators() -> None:
    x = torch.randn(2, 5, 9, 9)
    assert torch.allclose(filtered(x, 1, gain=4.0), convolve(x, usual_filter() * 4, 1, 1), atol=1e-5)
    assert torch.allclose(filtered(x, 2, 2), convolve(x, usual_filter(), 2, 2, 2), atol=1e-5)
