"""Losses that look only at what is left of a picture. Each wraps another Loss; see inversion.losses.

Source: Gabbay & Hoshen 2019, Eq. 7 and Eq. 8.
"""

from __future__ import annotations

import torch

from reanimate.inversion.losses import Loss
from reanimate.restore.degradations import Downsampling, bicubic, downsample


class MaskedLoss:
    """Eq. 7: the distance of pictures that show the same in the hole: what the target shows there.

    The released code's targets are black there. A network that looks at faces sees fewer edges where it is a guess.
    """

    def __init__(self, inner: Loss, hole: torch.Tensor) -> None:
        """`hole` [N or 1, 1, R, R] is True where nothing is known."""
        self.inner, self.hole = inner, hole

    def prepare(self, target: torch.Tensor) -> list[torch.Tensor]:
        """See Loss."""
        return [target, *self.inner.prepare(target)]

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """See Loss; what pictures show in the hole does not matter."""
        target, *wanted = prepared
        return self.inner(torch.where(self.hole, target, pictures), wanted, softness)


class DownsampledLoss:
    """Eq. 8: the distance after downsampling.

    Differs in that both small pictures are enlarged alike before they are compared: a loss that looks at faces of one
    size, as the models' own features do, then sees faces of that size.
    """

    def __init__(self, inner: Loss, factor: int, how: Downsampling) -> None:
        self.inner, self.factor, self.how = inner, factor, how

    def prepare(self, target: torch.Tensor) -> list[torch.Tensor]:
        """See Loss; of targets only what downsampling leaves matters."""
        return self.inner.prepare(self._seen(target))

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """See Loss."""
        return self.inner(self._seen(pictures), prepared, softness)

    def _seen(self, pictures: torch.Tensor) -> torch.Tensor:
        return bicubic(downsample(pictures, self.factor, self.how), self.factor, self.how)
