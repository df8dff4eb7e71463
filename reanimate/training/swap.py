"""Swap consistency: the difference of two codes of one person, added to another's code, moves that face alike.

It trains Eq. 9 and 10 of Gabbay & Hoshen 2019, that codes add, directly. The supervision is weak, from a landmark
predictor's guesses, and costs nothing when the model is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from reanimate.training.batches import Batch, Batches
from reanimate.training.data import Faces
from reanimate.training.identity import Identity
from reanimate.training.pose import PoseNetwork, teach_pose

SWAP_EVERY = 4  # batches


class Swap:
    """Judges faces that were given another's movement."""

    def __init__(self, faces: Faces, batches: Batches, person: Identity | None, pose_steps: int, seed: int) -> None:
        self.batches, self.person, self.pose_steps, self.seed = batches, person, pose_steps, seed
        self.pose, self.taught = PoseNetwork(faces).to(batches.device), False

    @property
    def possible(self) -> bool:
        """Whether anybody was photographed twice."""
        return self.batches.has_pairs

    def parts(
        self, fake: torch.Tensor, still: Batch, before: Batch, after: Batch, precision: torch.dtype
    ) -> dict[str, torch.Tensor]:
        """How pictures [N, 3, R, R] of `still`, moved as from `before` to `after`, miss the sum of their poses, and by
        how much they have become somebody else.
        """
        self.teach()
        with torch.autocast(fake.device.type, precision, enabled=precision != torch.float32):
            with torch.no_grad():
                wanted = self.pose(still.pictures) + self.pose(after.pictures) - self.pose(before.pictures)
            error = functional.smooth_l1_loss(self.pose(fake), wanted, reduction="none")
            parts = {"swap_pose": asked_for(error, self.pose.is_common(wanted))}
            if self.person is not None:
                parts["swap_identity"] = self.person.distance(fake, still.alignment, still.chosen).mean()
        return parts

    def pose_error(self, fake: torch.Tensor, some: Batch, precision: torch.dtype) -> torch.Tensor:
        """How much head pose and expression of pictures [N, 3, R, R] differ from those of the batch's, as seen by the
        same network.
        """
        self.teach()
        with torch.autocast(fake.device.type, precision, enabled=precision != torch.float32):
            with torch.no_grad():
                wanted = self.pose(some.pictures)
            return functional.smooth_l1_loss(self.pose(fake), wanted)

    def teach(self) -> None:
        """Teach the pose network, once."""
        if not self.taught:
            teach_pose(self.pose, self.batches, self.pose_steps, self.seed)
            self.taught = True

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {"pose": self.pose.state_dict(), "taught": self.taught}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.pose.load_state_dict(state["pose"])
        self.taught = bool(state["taught"])
        self.pose.requires_grad_(not self.taught)


def asked_for(error: torch.Tensor, common: torch.Tensor) -> torch.Tensor:
    """Mean error [N, 5] over the numbers that are `common`: a sum that no face has is not asked for."""
    return (error * common).sum() / common.sum().clamp_min(1)
