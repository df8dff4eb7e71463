from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import face_points, made_up_faces

from reanimate.training.batches import Batches
from reanimate.training.data import Faces, draw_alignment
from reanimate.training.pose import TURNED, PoseNetwork, explained, pose_of, teach_pose

YAW, PITCH, MOUTH, EYES, SMILE = range(5)
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *range(45, 41, -1), 47, 46,
     *range(39, 35, -1), 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
)  # fmt: skip


@pytest.fixture
def face() -> np.ndarray:
    """Landmarks that are not symmetric."""
    points = face_points((50, 60), 80)
    points[30] += (4, 3)
    return points


def test_pose_does_not_change_with_place_size_and_roll(face: np.ndarray) -> None:
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    moved = (face @ turn.T * 1.7 + (30, -20)).astype(np.float32)
    poses = pose_of(np.stack([face, moved]))
    assert np.allclose(poses[0], poses[1], atol=1e-4)


def test_mirror_turns_the_head_and_nothing_else(face: np.ndarray) -> None:
    mirrored = (face * (-1, 1))[MIRROR].astype(np.float32)
    before, after = pose_of(np.stack([face, mirrored]))
    assert before[YAW] > 0.1
    assert np.allclose(after, before * TURNED, atol=1e-4)


@pytest.mark.parametrize(
    ("points", "move", "number"),
    [([30], (5, 0), YAW), ([30], (0, 5), PITCH), ([65, 66, 67], (0, 6), MOUTH), ([37, 38, 43, 44], (0, -3), EYES)],
)
def test_each_number_rises_with_its_movement(
    face: np.ndarray, points: list[int], move: tuple[float, float], number: int
) -> None:
    moved = face.copy()
    moved[points] += move
    before, after = pose_of(np.stack([face, moved]))
    assert after[number] > before[number] + 0.02


def test_raised_corners_are_a_smile(face: np.ndarray) -> None:
    moved = face.copy()
    moved[[48, 54]] -= (0, 4)
    before, after = pose_of(np.stack([face, moved]))
    assert after[SMILE] > before[SMILE] + 0.05


@pytest.fixture(scope="module")
def turning() -> Faces:
    """Blots whose brightness from left to right is how far the nose is off the middle."""
    faces = made_up_faces(120)
    yaw = np.random.default_rng(0).uniform(-1, 1, 120)
    ramp = np.linspace(-1, 1, faces.pictures.shape[2])
    pictures = np.clip(128 + 120 * yaw[:, None, None, None] * ramp[None, None, :, None], 0, 255).astype(np.uint8)
    landmarks = faces.landmarks.copy()
    landmarks[:, 30, 0] += 2 * yaw
    return Faces(np.broadcast_to(pictures, faces.pictures.shape).copy(), landmarks, faces.names, faces.resolution)


def test_network_learns_what_landmarks_say_also_of_mirrored_faces(turning: Faces) -> None:
    torch.manual_seed(0)
    network, batches = PoseNetwork(turning), Batches(turning, 16, "cpu")
    held_out = np.flatnonzero(turning.held_out)
    assert explained(network, batches, held_out)[YAW] < 0.5
    teach_pose(network, batches, 60, 0)
    assert explained(network, batches, held_out)[YAW] > 0.8
    assert not any(p.requires_grad for p in network.parameters())


def test_wanted_pose_of_a_mirrored_face_is_mirrored(turning: Faces) -> None:
    network = PoseNetwork(turning)
    alignment = draw_alignment(64, torch.Generator().manual_seed(0))
    wanted = network.wanted(torch.zeros(64, dtype=torch.int64), alignment) * network.deviation + network.mean
    yaw = float(pose_of(turning.landmarks[:1])[0, YAW])
    mirrored = torch.det(alignment[:, :, :2]) < 0
    assert torch.allclose(wanted[:, YAW], torch.where(mirrored, -yaw, yaw), atol=1e-3)


def test_common_poses_lie_where_nearly_all_faces_do(turning: Faces) -> None:
    network = PoseNetwork(turning)
    everybody = (torch.from_numpy(pose_of(turning.landmarks)) - network.mean) / network.deviation
    assert network.is_common(everybody)[:, YAW].float().mean() > 0.9
    assert not network.is_common(torch.full([1, 5], 20.0)).any()
