"""Head pose and expression are what they were made with, wherever the face is and however large."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import face_points

from reanimate.faces.expression import _HEAD as HEAD
from reanimate.faces.expression import RIGID, express


def seen_from(yaw: float, pitch: float, roll: float, size: float = 1.0, at: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Landmarks [1, 68, 2] of the generic head, turned by degrees, a metre from the camera; expression is left out."""
    y, p, r = np.radians([yaw, pitch, roll])
    turned = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    nodded = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilted = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = (HEAD - HEAD.mean(0)) @ (tilted @ turned @ nodded).T + [0, 0, 1000]
    landmarks = np.zeros((1, 68, 2), np.float32)
    landmarks[0, list(RIGID)] = 1000 * size * points[:, :2] / points[:, 2:] + at
    return landmarks


POSES = [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (25, -15, 40), (-60, 25, -80), (10, 5, 170)]


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_pose_is_recovered_within_a_degree(pose: tuple[float, float, float]) -> None:
    found = express(seen_from(*pose))
    assert (found.yaw[0], found.pitch[0], found.roll[0]) == pytest.approx(pose, abs=1.0)


def test_signs_are_those_of_the_picture() -> None:
    front, right, up = seen_from(0, 0, 0), seen_from(20, 0, 0), seen_from(0, 20, 0)
    assert right[0, 30, 0] > front[0, 30, 0] + 5, "the nose goes to the right where yaw is positive"
    assert up[0, 30, 1] < front[0, 30, 1] - 5, "the nose goes up where pitch is positive"
    clockwise = seen_from(0, 0, 20)
    assert clockwise[0, 45, 1] > clockwise[0, 36, 1], "the eye on the right goes down where roll is positive"


def test_size_and_place_of_the_face_do_not_matter() -> None:
    near, far = express(seen_from(20, -10, 5, size=4, at=(900, 300))), express(seen_from(20, -10, 5, size=0.5))
    for name in ("yaw", "pitch", "roll"):
        assert getattr(near, name)[0] == pytest.approx(getattr(far, name)[0], abs=0.05)


def test_turning_the_picture_changes_roll_alone() -> None:
    upright, turned = express(seen_from(25, 10, 0)), express(seen_from(25, 10, 35))
    assert turned.roll[0] - upright.roll[0] == pytest.approx(35, abs=0.1)
    assert (turned.yaw[0], turned.pitch[0]) == pytest.approx((upright.yaw[0], upright.pitch[0]), abs=0.1)


def test_shaking_landmarks_do_not_flip_the_head() -> None:
    rng = np.random.default_rng(0)
    frames = np.concatenate([seen_from(yaw, 5, 3) for yaw in np.linspace(-40, 40, 81)])
    found = express((frames + rng.normal(0, 1.0, frames.shape)).astype(np.float32))
    assert np.abs(found.yaw - np.linspace(-40, 40, 81)).max() < 6
    assert np.abs(np.diff(found.pitch)).max() < 15


def test_mouth_and_eyes_open_as_far_as_they_are_drawn() -> None:
    shut, wide = face_points(), face_points()
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        shut[lower] = shut[upper]
        wide[lower] = wide[upper] + [0, 20]
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[lower] = shut[upper]
    found = express(np.stack([shut, wide]))
    assert found.mouth[0] == 0 and found.eyes[0] == 0
    assert found.mouth[1] > 0.2 and found.eyes[1] > 0.2
    larger = express((np.stack([shut, wide]) * 3 + 50).astype(np.float32))
    np.testing.assert_allclose(larger.mouth, found.mouth, atol=1e-3)
    np.testing.assert_allclose(larger.eyes, found.eyes, atol=1e-3)
    np.testing.assert_allclose(larger.smile, found.smile, atol=1e-3)


def test_wider_mouth_is_a_wider_smile() -> None:
    rest, smile = face_points(), face_points()
    smile[48] -= [6, 0]
    smile[54] += [6, 0]
    found = express(np.stack([rest, smile]))
    assert found.smile[1] > found.smile[0] + 0.05
    assert found.mouth[1] == pytest.approx(found.mouth[0], abs=1e-6), "the corners do not open it"


def test_frame_without_landmarks_is_nan_in_every_curve_and_the_others_stand() -> None:
    frames = np.stack([face_points(), np.full((68, 2), np.nan, np.float32), face_points()])
    found = express(frames)
    for name in ("yaw", "pitch", "roll", "mouth", "eyes", "smile"):
        assert np.isfinite(getattr(found, name)).tolist() == [True, False, True], name


def test_moving_lips_and_chin_do_not_turn_the_head() -> None:
    rest, speaking = face_points(), face_points()
    speaking[48:] += np.random.default_rng(0).normal(0, 5, (20, 2)).astype(np.float32)
    speaking[:17] += [3, 8]
    found = express(np.stack([rest, speaking]))
    for name in ("yaw", "pitch", "roll"):
        assert getattr(found, name)[0] == getattr(found, name)[1], name
