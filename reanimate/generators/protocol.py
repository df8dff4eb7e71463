"""What the rest of the library asks of a generator."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class Generator(Protocol):
    """A style generator: z to ws by `mapping`, ws to pictures by `synthesis`."""

    num_ws: int
    """L, codes per picture."""
    w_dim: int
    """D, width of a code."""
    z_dim: int
    """Width of the Gaussian input of `mapping`."""
    resolution: int
    """R, px."""

    @property
    def w_avg(self) -> torch.Tensor:
        """[D] mean of W, the centre of truncation."""

    def mapping(self, z: torch.Tensor, truncation_psi: float = 1.0) -> torch.Tensor:
        """[N, L, D] codes, the same for every layer, for Gaussian z [N, z_dim]."""

    def synthesis(self, ws: torch.Tensor) -> torch.Tensor:
        """[N, 3, R, R] pictures, nominally in [-1, 1], for codes [N, L, D]. Noise inputs are the stored constants."""
