"""Codes whose pictures keep their mean colour, whatever light the source was filmed in."""

from __future__ import annotations

import torch

from reanimate.generators.protocol import Generator

ROUNDS = 2  # of Newton's method with a fixed slope; each costs one synthesis


class ColourHold:
    """Brings codes to the mean colour of one picture by the smallest change of code that does it."""

    def __init__(self, generator: Generator, ws: torch.Tensor) -> None:
        """Take the colour, and how it changes with the code, of the picture of a code [1, L, D]."""
        self._generator = generator
        with torch.enable_grad():
            at = ws.detach().clone().requires_grad_(True)
            colour = self._colour(at)[0]
            slopes = [torch.autograd.grad(channel, at, retain_graph=True)[0].flatten() for channel in colour]
        self.wanted = colour.detach()
        """[3] in [-1, 1]."""
        self._back = torch.linalg.pinv(torch.stack(slopes)).T

    @torch.no_grad()
    def __call__(self, ws: torch.Tensor) -> torch.Tensor:
        """Codes [N, L, D] of pictures of that colour."""
        for _ in range(ROUNDS):
            ws = ws - ((self._colour(ws) - self.wanted) @ self._back).view_as(ws)
        return ws

    def _colour(self, ws: torch.Tensor) -> torch.Tensor:
        return self._generator.synthesis(ws).clamp(-1, 1).mean((2, 3))
