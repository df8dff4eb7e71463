"""The best that was met on the way, and when to stop."""

from __future__ import annotations

import math

import torch


class Best:
    """The best variables that were met, and which pictures of a batch still get better. Each is judged alone."""

    def __init__(self, parts: list[torch.Tensor], patience: int, tolerance: float, target_loss: float) -> None:
        count = len(parts[0])
        self.parts = [part.detach().clone() for part in parts]
        self.loss = torch.full([count], math.inf)
        self._patience, self._tolerance, self._target_loss = patience, tolerance, target_loss
        self._waiting = torch.ones(count, dtype=torch.bool)
        """[N] False for a picture that is done, and keeps what it has."""
        self._begun, self._lowest = False, torch.full([count], math.inf)
        """[N] The lowest loss since the start, which a warm one's first long steps leave far below."""
        self._marked, self._since = torch.full([count], math.inf), torch.zeros(count, dtype=torch.int64)

    def look(self, parts: list[torch.Tensor], losses: torch.Tensor) -> None:
        """Keep what is better than before."""
        now = losses.detach().cpu()
        better = (now < self.loss) & self._waiting
        for i, part in enumerate(parts):
            pick = better.view(-1, *[1] * (part.ndim - 1)).to(part.device)
            self.parts[i] = torch.where(pick, part.detach(), self.parts[i])
        self.loss = torch.where(better, now, self.loss)
        if self._begun:
            self._lowest = torch.minimum(self._lowest, now)
        self._begun = True

    def goes_on(self) -> bool:
        """Take in the losses so far; False once every picture is done."""
        unknown = self._lowest.isinf()  # nothing to judge by yet
        improved = unknown | (self._lowest < self._marked * (1 - self._tolerance))
        self._marked = torch.where(improved, self._lowest, self._marked)
        self._since = torch.where(improved, 0, self._since + 1)
        if self._patience:
            self._waiting &= self._since < self._patience
        self._waiting &= self.loss > self._target_loss
        return bool(self._waiting.any())
