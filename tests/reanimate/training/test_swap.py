from __future__ import annotations

import torch
from conftest import made_up_faces

from reanimate.training.batches import Batches, generator_at
from reanimate.training.swap import Swap, asked_for


def test_only_common_sums_are_asked_for() -> None:
    error = torch.tensor([[1.0, 100.0], [3.0, 100.0]])
    assert float(asked_for(error, torch.tensor([[True, False], [True, False]]))) == 2.0
    assert float(asked_for(error, torch.zeros(2, 2, dtype=torch.bool))) == 0.0


def test_face_moved_by_nothing_misses_nothing() -> None:
    faces = made_up_faces()
    batches = Batches(faces, 16, "cpu")
    swap = Swap(faces, batches, None, 1, 0)
    still, other = (batches.draw(8, generator_at(0, i, "cpu")) for i in range(2))
    parts = swap.parts(still.pictures, still, other, other, torch.float32)
    assert set(parts) == {"swap_pose"} and float(parts["swap_pose"]) < 1e-8


def test_network_is_taught_once_and_a_restored_one_not_again() -> None:
    faces = made_up_faces()
    batches = Batches(faces, 16, "cpu")
    swap = Swap(faces, batches, None, 1, 0)
    swap.teach()
    taught = {name: value.clone() for name, value in swap.pose.state_dict().items()}
    again = Swap(faces, batches, None, 1, 5)
    again.restore(swap.state())
    again.teach()
    assert all(torch.equal(value, taught[name]) for name, value in again.pose.state_dict().items())


def test_pose_error_is_nothing_for_the_face_itself_and_more_for_another() -> None:
    faces = made_up_faces()
    batches = Batches(faces, 16, "cpu")
    swap = Swap(faces, batches, None, 1, 0)
    some, other = (batches.draw(8, generator_at(0, i, "cpu")) for i in range(2))
    assert float(swap.pose_error(some.pictures, some, torch.float32)) == 0.0
    assert float(swap.pose_error(other.pictures, some, torch.float32)) > 0.0
