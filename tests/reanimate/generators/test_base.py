"""What the families share: codes from z, and how far they are drawn to the mean."""

from __future__ import annotations

import pytest
import torch
from conftest import tiny_generator


def test_every_layer_gets_the_same_code() -> None:
    generator = tiny_generator()
    ws = generator.mapping(torch.randn(3, 8))
    assert ws.shape == (3, generator.num_ws, 8)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))


def test_truncation_draws_codes_to_the_mean() -> None:
    generator, z = tiny_generator(), torch.randn(3, 8)
    full, half = generator.mapping(z), generator.mapping(z, truncation_psi=0.5)
    assert torch.allclose(half, (full + generator.w_avg) / 2, atol=1e-6)
    assert torch.allclose(generator.mapping(z, truncation_psi=0), generator.w_avg.expand_as(full))


@pytest.mark.parametrize("cutoff", [0, 1, 3, 6, 9])
def test_cutoff_leaves_the_codes_after_it_alone(cutoff: int) -> None:
    generator, z = tiny_generator(), torch.randn(3, 8)
    full, cut = generator.mapping(z), generator.mapping(z, truncation_psi=0.7, truncation_cutoff=cutoff)
    assert torch.equal(cut[:, cutoff:], full[:, cutoff:])
    assert torch.equal(cut[:, :cutoff], generator.mapping(z, truncation_psi=0.7)[:, :cutoff])
