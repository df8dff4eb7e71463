from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import made_up_faces

from reanimate.training.batches import Batches, generator_at, joined
from reanimate.training.data import Faces


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Twelve people, of whom some were photographed once, some two and some three times."""
    made = made_up_faces(36)
    counts = [1, 2, 3] * 6
    names = [f"person{i}/{j}.jpg" for i, count in enumerate(counts) for j in range(count)]
    order = np.random.default_rng(0).permutation(36)
    return Faces(made.pictures, made.landmarks, np.array(names)[order], made.resolution)


@pytest.fixture(scope="module")
def batches(faces: Faces) -> Batches:
    return Batches(faces, 16, "cpu")


def test_faces_perform_where_they_were_cut_and_neighbours_alike(batches: Batches) -> None:
    some = batches.draw(40, generator_at(0, 0, "cpu"))
    before, after = batches.performed(some, generator_at(0, 1, "cpu"))
    for acting in (before, after):
        assert torch.equal(acting.chosen, some.chosen) and torch.equal(acting.alignment, some.alignment)
        assert acting.pictures.shape == some.pictures.shape and acting.pictures.isfinite().all()
    moved = (after.pictures - before.pictures).abs().mean((1, 2, 3)) > 1e-6
    assert moved.view(-1, 2).any(1).float().mean() > 0.8  # nearly every pair does something
    again, _ = batches.performed(some, generator_at(0, 1, "cpu"))
    assert torch.equal(again.pictures, before.pictures)


def test_joined_batches_keep_their_order(batches: Batches) -> None:
    first, second = (batches.draw(4, generator_at(0, images, "cpu")) for images in (0, 4))
    both = joined(first, second)
    assert torch.equal(both.pictures[:4], first.pictures) and torch.equal(both.pictures[4:], second.pictures)
    assert torch.equal(both.chosen, torch.cat([first.chosen, second.chosen]))
    assert torch.equal(both.alignment, torch.cat([first.alignment, second.alignment]))


def test_same_step_draws_the_same_batch_and_another_does_not(batches: Batches) -> None:
    first, again, other = (batches.draw(8, generator_at(0, images, "cpu")) for images in (64, 64, 128))
    assert torch.equal(first.pictures, again.pictures) and torch.equal(first.chosen, again.chosen)
    assert not torch.equal(first.alignment, other.alignment)
    assert not torch.equal(first.alignment, batches.draw(8, generator_at(1, 64, "cpu")).alignment)


def test_held_out_people_are_never_drawn(faces: Faces, batches: Batches) -> None:
    drawn = batches.draw(2000, generator_at(0, 0, "cpu")).chosen.unique()
    assert set(drawn.tolist()) == set(np.flatnonzero(~faces.held_out).tolist())
