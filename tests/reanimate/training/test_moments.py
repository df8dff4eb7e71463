from __future__ import annotations

import torch

from reanimate.training.moments import STEPS, Moments, mismatch


def test_first_batch_stands_alone() -> None:
    codes = torch.randn(500, 4) @ torch.randn(4, 4) + 3
    mean, covariance = Moments(4).take(codes)
    assert torch.allclose(mean, codes.mean(0), atol=1e-4)
    assert torch.allclose(covariance, codes.T.cov(correction=0), atol=1e-3)


def test_many_batches_are_their_mean() -> None:
    torch.manual_seed(0)
    moments, root = Moments(4), torch.randn(4, 4)
    for _ in range(STEPS):
        moments.take(torch.randn(64, 4) @ root + 1)
    mean, covariance = moments.now()
    assert torch.allclose(mean, torch.ones(4), atol=0.15)
    assert torch.allclose(covariance, root.T @ root, atol=0.15 * float((root.T @ root).abs().max()))


def test_same_codes_match_and_moved_or_stretched_ones_do_not() -> None:
    codes = torch.randn(500, 4)
    wanted = Moments(4).take(codes)
    assert float(mismatch(Moments(4).take(codes), wanted)) < 1e-6
    assert float(mismatch(Moments(4).take(codes + 1), wanted)) > 0.5
    assert float(mismatch(Moments(4).take(codes * 2), wanted)) > 5


def test_mismatch_draws_the_latest_batch_home() -> None:
    torch.manual_seed(0)
    wanted = Moments(4).take(torch.randn(1000, 4))
    codes = torch.full([64, 4], 2.0) + 0.1 * torch.randn(64, 4)
    codes.requires_grad_(True)
    mismatch(Moments(4).take(codes), wanted).backward()
    assert codes.grad is not None and (codes.grad.mean(0) > 0).all()
