from __future__ import annotations

import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.inversion.encoder import Encoder, EncoderConfig


def crops(count: int = 3, resolution: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, resolution, resolution, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
def test_crops_become_codes_of_the_generator(resolution: int) -> None:
    generator = tiny_generator(resolution=resolution)
    ws = tiny_encoder(generator)(crops(2, resolution))
    assert ws.shape == (2, generator.num_ws, 8)
    assert generator.synthesis(ws).shape == (2, 3, resolution, resolution)


def test_codes_are_one_w_plus_an_offset_per_layer() -> None:
    encoder = tiny_encoder(tiny_generator())
    w, offsets = encoder.parts(crops())
    assert w.shape == (3, 8) and offsets.shape == (3, 6, 8)
    assert torch.equal(encoder(crops()), w[:, None] + offsets)


def test_untrained_encoder_gives_nearly_one_w_for_all_layers() -> None:
    w, offsets = tiny_encoder(tiny_generator()).parts(crops())
    assert offsets.abs().max() < 0.05 * w.abs().max()


def test_mean_of_w_is_added() -> None:
    encoder = tiny_encoder(tiny_generator())
    before = encoder(crops())
    encoder.w_mean.fill_(2.0)
    assert torch.allclose(encoder(crops()), before + 2, atol=1e-5)


def test_batch_is_its_pictures_one_by_one() -> None:
    encoder = tiny_encoder(tiny_generator())
    singles = torch.cat([encoder(one[None]) for one in crops()])
    assert torch.allclose(encoder(crops()), singles, atol=1e-5)


def test_every_pixel_is_seen() -> None:
    x = crops(1).requires_grad_(True)
    tiny_encoder(tiny_generator())(x).square().sum().backward()
    assert x.grad is not None and (x.grad.abs().amax(1) > 0).all()


def test_every_weight_is_trained() -> None:
    encoder = Encoder(EncoderConfig(16, 6, 8, 128, 16, hidden=8))
    encoder(crops()).square().sum().backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_channels_stay_between_sixty_four_and_the_limit() -> None:
    config = EncoderConfig(256, 14, 512, channel_base=2048, channel_max=256)
    assert [config.channels(r) for r in (4, 8, 16, 32, 64, 128)] == [256, 256, 128, 64, 64, 64]
