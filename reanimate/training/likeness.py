"""How far reconstructions are from the faces they should show, by every measure that there is a network for.

Where a window is given, eyes and mouth count more than hair, and hair more than what is behind it: a small network
spends what it has where faces differ and move.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from reanimate.inversion.features import SqueezeNetFeatures, feature_distance, weighted_mean
from reanimate.training.batches import Batch
from reanimate.training.identity import Identity


class Likeness:
    """L1, and where given, the distance of a perceptual network and of a descriptor of people."""

    def __init__(
        self, features: SqueezeNetFeatures | None, person: Identity | None, window: torch.Tensor | None = None
    ) -> None:
        """`window` [1, 1, W, W] has mean 1 and says how much each place of a crop counts; see `face_window`."""
        self.features, self.person, self.window = features, person, window

    def parts(
        self,
        fake: torch.Tensor,
        batch: Batch,
        precision: torch.dtype = torch.float32,
        *,
        seeing: bool = True,
        who: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Mean distances of pictures [N, 3, r, r], r at most R, to the faces of a batch; L1 alone unless `seeing`, and
        none by the descriptor unless `who`.

        The networks' convolutions work in `precision`.
        """
        real = batch.pictures
        if fake.shape[-1] != real.shape[-1]:
            real = functional.avg_pool2d(real, real.shape[-1] // fake.shape[-1])
        parts = {"l1": weighted_mean((fake - real).abs().mean(1), self.window).mean()}
        if not seeing:
            return parts
        with torch.autocast(fake.device.type, precision, enabled=precision != torch.float32):
            if self.features is not None:
                with torch.no_grad():
                    wanted = self.features(real)
                parts["features"] = feature_distance(self.features(fake), wanted, self.window).mean()
            if who and self.person is not None:
                parts["identity"] = self.person.distance(fake, batch.alignment, batch.chosen).mean()
        return parts
