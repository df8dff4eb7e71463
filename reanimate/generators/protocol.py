"""What the rest of the library asks of a generator, and of the configuration that a bundle's card holds of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch

NoiseMode = Literal["const", "none", "random"]
Noise = NoiseMode | Sequence[torch.Tensor]
"""Which noise, or one map [N, 1, H, W] for each of a generator's noise inputs."""


class GeneratorConfig(Protocol):
    """Sizes and options of one family: a frozen dataclass of JSON values, which refuses impossible ones.

    Its fields are int, float, bool, Literal, or tuples of int. Construction raises ValueError with a short reason for
    a combination that no network has; the limits of single fields are the bundle's business.
    """

    @property
    def resolution(self) -> int:
        """R, px."""

    @property
    def num_ws(self) -> int:
        """L."""

    @property
    def w_dim(self) -> int:
        """D."""

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least; cheap, and asked before anything is allocated."""


@runtime_checkable
class Generator(Protocol):
    """z to ws by `mapping`, ws to pictures by `synthesis`.

    A generator without styles (`has_w` is False) has only z: its num_ws is 1, its w_dim is z_dim, `mapping` adds an
    axis to z and does nothing else, and w_avg is zero. A conditional one draws the class `label` of its configuration
    unless it is told another.
    """

    has_w: bool
    """Whether there is a W, so that codes may differ by layer."""
    num_ws: int
    """L, codes per picture."""
    w_dim: int
    """D, width of a code."""
    z_dim: int
    """Width of the Gaussian input of `mapping`."""
    c_dim: int
    """Classes of a conditional generator; 0 for all others."""
    resolution: int
    """R, px."""

    @property
    def config(self) -> GeneratorConfig:
        """What it was made from."""

    @property
    def w_avg(self) -> torch.Tensor:
        """[D] mean of W, the centre of truncation."""

    def mapping(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """[N, L, D] codes, the same for every layer, for Gaussian z [N, z_dim] and one-hot classes c [N, c_dim].

        Codes of the first `truncation_cutoff` layers (all if None) are drawn towards w_avg by `truncation_psi`.
        """

    def noise_maps(self) -> list[torch.Tensor]:
        """The stored noise [H, W] of every layer that takes noise, in order; none if nothing of it is drawn."""

    def synthesis(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] pictures, nominally in [-1, 1], for codes [N, L, D]; `const` noise is the stored one."""
