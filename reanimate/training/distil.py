"""Teaching the bundle's own perceptual features: a small network learns where a large one sees faces differ.

The teacher's features are scaled to unit length at every position, as its distance does, and projected onto their
principal directions over faces: distances between faces survive, and the student has few numbers to say. It sees pairs
of a face and a spoilt copy (blurred, moved, tinted, reconstructed), and learns both what each looks like to the teacher
and, as this is what inversion descends, how the two differ.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", here of features and their differences.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from reanimate.inversion.features import WINDOW_SIDE, FaceFeatures, FaceFeaturesConfig, SqueezeNetFeatures
from reanimate.training.batches import Batches, generator_at
from reanimate.training.data import draw_alignment
from reanimate.types import Float32

_STAGES = ((0,), (1,), (2,), (3, 4, 5, 6))  # the teacher's maps by the stride they lie at
DIFFERENCE_WEIGHT = 4.0  # of the difference between face and copy, beside what each is
WINDOW_SOFTNESS = 0.05  # share of the crop's side
WINDOW_FLOOR = 0.2  # what hair and background count, where eyes count 1
BATCH = 24
BANK = 1024  # reconstructions kept for reuse: they are the dearest of the spoilt copies
LEARNING_RATE = 2e-3


def distil(
    teacher: SqueezeNetFeatures,
    batches: Batches,
    landmarks: Float32,
    reconstruct: Callable[[torch.Tensor], torch.Tensor],
    report: Callable[[int, dict[str, float]], None],
    *,
    steps: int,
    seed: int = 0,
) -> FaceFeatures:
    """Features of the faces in `batches`; `reconstruct` gives a generator's version of pictures [N, 3, R, R], and
    `landmarks` [M, 68, 2], in crops of side 1, say where in a crop faces are.

    Runs where the faces lie; `report` gets the steps made and the latest losses about once a second.
    """
    device = batches.pictures.device.type
    torch.manual_seed(seed)
    student = FaceFeatures(FaceFeaturesConfig())
    student.window.copy_(face_window(landmarks))
    student = student.to(device).to(memory_format=torch.channels_last)
    draw = generator_at(seed, -1, device)
    bank = _fill_bank(batches, reconstruct, draw)
    bases = _principal_directions(teacher, student.config.outputs, *_pairs(batches, bank, 256, draw))
    optimiser = torch.optim.Adam(student.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    reported = -float("inf")
    for step in range(steps):
        face, copy = _pairs(batches, bank, BATCH, generator_at(seed, step, device))
        both = torch.cat([face, copy])
        wanted = _project(teacher, both, bases)
        found = student.maps(both)
        total, miss = torch.zeros((), device=device), []
        for a, b in zip(found, wanted, strict=True):
            error = a - b
            between = error[:BATCH] - error[BATCH:]
            scale = (b - b.mean((0, 2, 3), keepdim=True)).square().sum(1).mean()
            total = total + (error.square().sum(1).mean() + DIFFERENCE_WEIGHT * between.square().sum(1).mean()) / scale
            miss.append(between.detach().square().sum(1).mean() / (b[:BATCH] - b[BATCH:]).square().sum(1).mean())
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if time.monotonic() - reported > 1 or step == steps - 1:
            reported = time.monotonic()
            report(step + 1, {"total": float(total.detach()), **{f"miss{i}": float(m) for i, m in enumerate(miss)}})
    return student.requires_grad_(False).eval()


def face_window(landmarks: Float32) -> torch.Tensor:
    """[1, 1, W, W] how close positions are to the landmarks [M, 68, 2] of faces in crops of side 1, mean 1."""
    edges = np.linspace(0, 1, WINDOW_SIDE + 1)
    counts, _, _ = np.histogram2d(landmarks[..., 1].ravel(), landmarks[..., 0].ravel(), bins=(edges, edges))
    density = gaussian_filter(counts, WINDOW_SOFTNESS * WINDOW_SIDE)
    window = WINDOW_FLOOR + (1 - WINDOW_FLOOR) * density / density.max()
    return torch.from_numpy((window / window.mean()).astype(np.float32))[None, None]


@torch.no_grad()
def _fill_bank(
    batches: Batches, reconstruct: Callable[[torch.Tensor], torch.Tensor], draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    faces = [batches.draw(64, draw).pictures for _ in range(BANK // 64)]
    return torch.cat(faces), torch.cat([reconstruct(some) for some in faces])


@torch.no_grad()
def _pairs(
    batches: Batches, bank: tuple[torch.Tensor, torch.Tensor], count: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Faces and their spoilt copies, [count, 3, R, R] each: a third reconstructed, a third moved, a third somebody
    else; any of them then blurred, tinted and dotted by a random amount, and half drawn back towards the face.
    """
    third, device = count // 3, draw.device
    some = torch.randint(len(bank[0]), (third,), generator=draw, device=device)
    rest = batches.draw(count - third, draw)
    moved = batches.cut(rest.chosen[:third], draw_alignment(third, draw)).pictures
    others = rest.pictures[third:].roll(1, 0)
    face, copy = torch.cat([bank[0][some], rest.pictures]), torch.cat([bank[1][some], moved, others])
    amount = torch.rand(count, 4, generator=draw, device=device).view(count, 4, 1, 1, 1)
    small = functional.interpolate(copy, scale_factor=0.25, mode="area")
    copy = copy.lerp(functional.interpolate(small, size=copy.shape[2:], mode="bilinear"), amount[:, 0].square())
    tint = torch.randn(count, 3, 1, 1, generator=draw, device=device)
    copy = copy * (1 + 0.2 * amount[:, 1] * tint[:, :1]) + 0.15 * amount[:, 1] * tint
    copy = copy + 0.1 * amount[:, 2].square() * torch.randn(copy.shape, generator=draw, device=device)
    copy = copy.lerp(face, (2 * amount[:, 3] - 1).clamp_min(0)).clamp(-1, 1)
    layout = torch.channels_last
    return face.contiguous(memory_format=layout), copy.contiguous(memory_format=layout)


def _unit_stages(teacher: SqueezeNetFeatures, pictures: torch.Tensor) -> list[torch.Tensor]:
    maps = [x * (x.square().sum(1, keepdim=True) + 1e-10).rsqrt() for x in teacher(pictures)]
    return [torch.cat([maps[i] for i in stage], 1) for stage in _STAGES]


@torch.no_grad()
def _principal_directions(
    teacher: SqueezeNetFeatures, counts: tuple[int, ...], face: torch.Tensor, copy: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each stage the mean [C, 1, 1] and the directions [K, C, 1, 1] in which faces and their copies differ most."""
    bases = []
    for a, b, kept in zip(_unit_stages(teacher, face), _unit_stages(teacher, copy), counts, strict=True):
        points = torch.cat([a, b]).transpose(0, 1).flatten(1).double()
        mean = points.mean(1, keepdim=True)
        centred = points - mean
        directions = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -kept:].T
        bases.append((mean.float()[:, :, None], directions.float()[:, :, None, None]))
    return bases


@torch.no_grad()
def _project(
    teacher: SqueezeNetFeatures, pictures: torch.Tensor, bases: list[tuple[torch.Tensor, torch.Tensor]]
) -> list[torch.Tensor]:
    stages = _unit_stages(teacher, pictures)
    return [functional.conv2d(x - mean, directions) for x, (mean, directions) in zip(stages, bases, strict=True)]
