"""Muon: every direction of a layer's kernels learns alike.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Differs in how momentum is made
orthogonal: of the small matrix of rows by rows, in float32, which on a CPU takes a third of the time. torch.optim.Muon
works in bfloat16, which many CPUs do not have.
"""

from __future__ import annotations

from typing import Any

import torch

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a polynomial that brings singular values from (0, 1] to about 1


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions, the first being outputs; `lr` is the root mean square of a step."""

    def __init__(self, groups: list[dict[str, Any]], momentum: float = 0.9) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change the weights that have gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                past = state.setdefault("momentum", torch.zeros_like(weight))
                past.mul_(group["momentum"]).add_(weight.grad)
                ahead = weight.grad.add(past, alpha=group["momentum"])
                even = orthogonal(ahead.flatten(1)).view_as(weight)
                weight.sub_(even, alpha=group["lr"] / max(float(even.square().mean().sqrt()), 1e-12))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix [M, N] with all its singular values near 1, by Newton and Schulz's iteration; zeros stay zeros."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    square = matrix @ matrix.T
    size = square.trace().clamp_min(torch.finfo(matrix.dtype).tiny)
    one = torch.eye(len(square), dtype=matrix.dtype, device=matrix.device)
    square, factor = square / size, one
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        polynomial = a * one + b * square + c * square @ square
        factor, square = polynomial @ factor, polynomial @ square @ polynomial
    return factor @ matrix / size.sqrt()
