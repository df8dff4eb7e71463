"""Attributes exchanged between faces: codes of one with some layers of another.

Source: Gabbay & Hoshen 2019 and Karras et al. 2019, where coarse layers carry pose and shape, fine ones colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def exchange(ws: torch.Tensor, other: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """Codes [N, L, D] with these layers of `other` [N, L, D].

    Raises:
        ValueError: there is no such layer.
    """
    if not all(0 <= layer < ws.shape[1] for layer in layers):
        raise ValueError(f"layers {list(layers)} are not all within 0 to {ws.shape[1] - 1}")
    taken = torch.zeros(ws.shape[1], 1, dtype=torch.bool, device=ws.device)
    taken[list(layers)] = True
    return torch.where(taken, other, ws)


def crossings(ws: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """[2, L + 1, L, D]: codes [L, D] whose first 0, 1, … L layers are `other`'s, and the same the other way round."""
    rows = [
        [exchange(a[None], b[None], range(cut))[0] for cut in range(len(ws) + 1)] for a, b in ((ws, other), (other, ws))
    ]
    return torch.stack([torch.stack(row) for row in rows])
