"""Head pose and expression as five numbers of a picture, by a small network that learned them from landmarks.

Landmarks cannot be differentiated; the network can, so that training may ask whether a generated face is turned and
speaks as it should. Its supervision is weak: the landmarks are a predictor's own guess.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from reanimate.training.batches import Batches, generator_at
from reanimate.training.data import Faces
from reanimate.types import Float32

SIDE = 128  # px; pictures are brought to this first: at half of it lips are a pixel apart
TURNED = (-1.0, 1.0, 1.0, 1.0, 1.0)  # what a mirror does to yaw, pitch, mouth, eyes, smile
_WIDTHS = (3, 24, 48, 96, 128, 128)
LEARNING_RATE = 1e-3
BATCH = 64
COMMON = (0.01, 0.99)  # quantiles of the training faces between which a pose is not strange


def pose_of(landmarks: Float32) -> Float32:
    """Rough pose [N, 5] from landmarks [N, 68, 2], whatever their shift, scale and roll; unitless.

    yaw: nose tip off the middle of the jaw, in half jaw widths. pitch: height of the nose tip between eyes and mouth.
    mouth: inner lips' height over their width. eyes: the same of the lids, mean of both. smile: height of the mouth's
    corners over its middle, in mouth widths.
    """
    points = landmarks.astype(np.float64)
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    x = (right - left) / _positive(np.linalg.norm(right - left, axis=1))[:, None]
    y = np.stack([-x[:, 1], x[:, 0]], 1)
    centred = points - ((left + right) / 2)[:, None]
    across, down = np.einsum("npk,nk->np", centred, x), np.einsum("npk,nk->np", centred, y)
    yaw = (2 * across[:, 30] - across[:, 1] - across[:, 15]) / _positive(across[:, 15] - across[:, 1])
    corners = (down[:, 48] + down[:, 54]) / 2
    pitch = down[:, 30] / _positive(corners)
    mouth = _ratio(points, [(62, 66)], (60, 64))
    eyes = (_ratio(points, [(37, 41), (38, 40)], (36, 39)) + _ratio(points, [(43, 47), (44, 46)], (42, 45))) / 2
    smile = ((down[:, 51] + down[:, 57]) / 2 - corners) / _positive(
        np.linalg.norm(points[:, 48] - points[:, 54], axis=1)
    )
    return np.stack([yaw, pitch, mouth, eyes, smile], 1).astype(np.float32)


def _positive(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(lengths, 1e-6)


def _ratio(points: NDArray[np.float64], heights: list[tuple[int, int]], width: tuple[int, int]) -> NDArray[np.float64]:
    tall = np.mean([np.linalg.norm(points[:, a] - points[:, b], axis=1) for a, b in heights], axis=0)
    ratio: NDArray[np.float64] = tall / _positive(np.linalg.norm(points[:, width[0]] - points[:, width[1]], axis=1))
    return ratio


class PoseNetwork(nn.Module):
    """Pictures [N, 3, R, R] to poses [N, 5] in standard deviations of the training faces."""

    mean: torch.Tensor
    deviation: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, faces: Faces) -> None:
        super().__init__()
        poses = pose_of(faces.landmarks)
        known = poses[~faces.held_out]
        mean, deviation = known.mean(0), known.std(0) + 1e-6
        low, high = np.quantile((known - mean) / deviation, COMMON, axis=0)
        for name, value in (("mean", mean), ("deviation", deviation), ("low", low), ("high", high)):
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))
        self.register_buffer("known", torch.from_numpy((poses - mean) / deviation), persistent=False)
        self.register_buffer("turned", torch.tensor(TURNED), persistent=False)
        layers: list[nn.Module] = []
        for before, after in pairwise(_WIDTHS):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(_WIDTHS[-1] * 16, 128), nn.LeakyReLU(0.2))
        self.last = nn.Linear(128, len(TURNED))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if pictures.shape[-1] != SIDE:
            pictures = functional.interpolate(
                pictures, size=SIDE, mode="area" if pictures.shape[-1] > SIDE else "bilinear"
            )
        poses: torch.Tensor = self.last(self.layers(pictures))
        return poses.float()

    def wanted(self, chosen: torch.Tensor, alignment: torch.Tensor) -> torch.Tensor:
        """[N, 5] what the landmarks say of faces cut at alignments [N, 2, 3]."""
        mirrored = alignment[:, 0, 0] * alignment[:, 1, 1] < alignment[:, 0, 1] * alignment[:, 1, 0]
        known = self.get_buffer("known")[chosen]
        # standardised about a mean that need not be 0: a mirror acts on the pose itself
        other = ((known * self.deviation + self.mean) * self.get_buffer("turned") - self.mean) / self.deviation
        return torch.where(mirrored[:, None], other, known).clamp(-4, 4)

    def is_common(self, poses: torch.Tensor) -> torch.Tensor:
        """[N, 5] which numbers of poses [N, 5] lie where the training faces do."""
        return (poses >= self.low) & (poses <= self.high)


def teach_pose(network: PoseNetwork, batches: Batches, steps: int, seed: int) -> None:
    """Teach the network on the training faces, jittered; `steps` batches."""
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        batch = batches.draw(BATCH, generator_at(seed, -1 - step, batches.device))
        error = functional.smooth_l1_loss(network(batch.pictures), network.wanted(batch.chosen, batch.alignment))
        optimiser.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.requires_grad_(False)


@torch.no_grad()
def explained(network: PoseNetwork, batches: Batches, chosen: NDArray[np.int64]) -> list[float]:
    """Share of the variance of each of the five numbers that the network explains over exactly aligned faces."""
    found = torch.cat([network(batches.exact(chosen[i : i + 64])) for i in range(0, len(chosen), 64)])
    wanted = network.get_buffer("known")[torch.from_numpy(chosen).to(found.device)]
    rest = (found - wanted).square().mean(0) / wanted.var(0, correction=0)
    return [float(1 - share) for share in rest]
