from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import made_up_faces

from reanimate.training.batches import Batches, generator_at
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


def people(faces: Faces, chosen: torch.Tensor) -> list[str]:
    return [str(faces.names[i]).partition("/")[0] for i in chosen.tolist()]


def test_pairs_are_two_photographs_of_one_trained_person_cut_alike(faces: Faces, batches: Batches) -> None:
    first, second = batches.draw_pairs(400, generator_at(0, 0, "cpu"))
    assert people(faces, first.chosen) == people(faces, second.chosen)
    assert not (first.chosen == second.chosen).any()
    assert torch.equal(first.alignment, second.alignment)
    assert not faces.held_out[first.chosen].any() and not faces.held_out[second.chosen].any()


def test_every_pair_can_be_drawn(faces: Faces, batches: Batches) -> None:
    first, second = batches.draw_pairs(4000, generator_at(0, 0, "cpu"))
    drawn = set(zip(first.chosen.tolist(), second.chosen.tolist(), strict=True))
    trained = np.flatnonzero(~faces.held_out)
    who = people(faces, torch.from_numpy(trained))
    possible = {
        (a, b)
        for a, p in zip(trained, who, strict=True)
        for b, q in zip(trained, who, strict=True)
        if p == q and a != b
    }
    assert drawn == possible


def test_faces_without_a_second_photograph_have_no_pairs(faces: Faces) -> None:
    assert not Batches(made_up_faces(), 16, "cpu").has_pairs


def test_same_step_draws_the_same_batch_and_another_does_not(batches: Batches) -> None:
    first, again, other = (batches.draw(8, generator_at(0, images, "cpu")) for images in (64, 64, 128))
    assert torch.equal(first.pictures, again.pictures) and torch.equal(first.chosen, again.chosen)
    assert not torch.equal(first.alignment, other.alignment)
    assert not torch.equal(first.alignment, batches.draw(8, generator_at(1, 64, "cpu")).alignment)


def test_held_out_people_are_never_drawn(faces: Faces, batches: Batches) -> None:
    drawn = batches.draw(2000, generator_at(0, 0, "cpu")).chosen.unique()
    assert set(drawn.tolist()) == set(np.flatnonzero(~faces.held_out).tolist())
