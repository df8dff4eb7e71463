from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import made_up_faces, squeezenet_file

from reanimate.inversion.features import WINDOW_SIDE, SqueezeNetFeatures
from reanimate.training.batches import Batches
from reanimate.training.distil import WINDOW_FLOOR, distil, face_window


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> SqueezeNetFeatures:
    return SqueezeNetFeatures(squeezenet_file(tmp_path_factory.mktemp("weights") / "weights.npz"))


def test_student_comes_to_see_differences_as_its_teacher_does(teacher: SqueezeNetFeatures) -> None:
    faces = made_up_faces(resolution=64)
    told: list[dict[str, float]] = []
    blurred = torch.nn.AvgPool2d(5, 1, 2)
    batches = Batches(faces, 64, "cpu")
    student = distil(teacher, batches, faces.landmarks / 64, blurred, lambda _, row: told.append(row), steps=25)
    assert told[-1]["total"] < 0.7 * told[0]["total"]
    assert not any(p.requires_grad for p in student.parameters())
    assert torch.equal(student.window, face_window(faces.landmarks / 64))


def test_window_is_highest_where_landmarks_are_and_never_nothing() -> None:
    points = np.full((10, 68, 2), (0.25, 0.75), np.float32)
    window = face_window(points)[0, 0]
    assert float(window.mean()) == pytest.approx(1.0, abs=1e-5)
    row, column = divmod(int(window.argmax()), WINDOW_SIDE)
    assert abs(row - 0.75 * WINDOW_SIDE) <= 1 and abs(column - 0.25 * WINDOW_SIDE) <= 1
    assert float(window.min() / window.max()) == pytest.approx(WINDOW_FLOOR, rel=1e-3)


def test_same_seed_is_the_same_student(teacher: SqueezeNetFeatures, tmp_path: Path) -> None:
    faces = made_up_faces(resolution=32)
    students = [
        distil(teacher, Batches(faces, 32, "cpu"), faces.landmarks / 32, torch.neg, lambda *_: None, steps=1)
        for _ in range(2)
    ]
    a, b = (student.state_dict() for student in students)
    assert all(torch.equal(a[name], b[name]) for name in a)
