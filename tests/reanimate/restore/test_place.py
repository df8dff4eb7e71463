"""A restored face returns to its picture without an edge, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_generator

from reanimate.errors import MediaError
from reanimate.faces.align import crop, quad_from_pose
from reanimate.faces.still import largest_face
from reanimate.images import read_image, resize, to_tensor
from reanimate.inversion.invert import PRESETS
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.restore.degradations import downsample, join
from reanimate.restore.place import (
    draw_enlarged,
    inpaint_in,
    known_side,
    whole_quad,
    without_hole,
)
from reanimate.restore.priors import GeneratorPrior, Plain
from reanimate.types import Bool, Float32, UInt8


class Grey(Plain):
    """Draws one shade, whatever it is shown."""

    def inpaint(self, pictures: torch.Tensor, hole: torch.Tensor, on_pass: object = None) -> torch.Tensor:
        return torch.full_like(pictures, 0.5)

    def upscale(self, small: torch.Tensor, factor: int, how: str, on_pass: object = None) -> torch.Tensor:
        return torch.full((1, 3, small.shape[-1] * factor, small.shape[-1] * factor), 0.5)


@pytest.fixture
def picture() -> UInt8:
    """Noise [90, 120, 3]: any px that is touched shows."""
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def quad() -> Float32:
    return quad_from_pose(np.array([60.0, 45.0]), np.array(30.0), np.array(0.2))


def box(left: int, top: int, width: int, height: int) -> Bool:
    hole = np.zeros((90, 120), np.bool_)
    hole[top : top + height, left : left + width] = True
    return hole


@pytest.mark.parametrize("hole", [box(50, 40, 20, 10), box(0, 0, 70, 60), box(60, 45, 1, 1)], ids=["in", "over", "px"])
def test_outside_the_hole_no_pixel_changes(picture: UInt8, quad: Float32, hole: Bool) -> None:
    made = inpaint_in(picture, hole, quad, Grey(), 16)
    np.testing.assert_array_equal(made[~hole], picture[~hole])
    assert (made[hole] != picture[hole]).any()


def test_what_the_hole_shows_does_not_matter(picture: UInt8, quad: Float32) -> None:
    hole, generator = box(50, 40, 20, 10), tiny_generator()
    prior = GeneratorPrior(generator, None, MultiScaleLoss(), PRESETS["fast"])
    other = np.where(hole[:, :, None], np.uint8(255), picture)
    made = [inpaint_in(shown, hole, quad, prior, 16) for shown in (picture, other)]
    np.testing.assert_array_equal(made[0], made[1])


def test_hole_meets_its_surroundings_without_an_edge(quad: Float32) -> None:
    """The prior's shade is another one; what separates them is taken into the hole."""
    smooth = np.full((90, 120, 3), 40, np.uint8)
    hole = box(45, 35, 30, 20)
    made = inpaint_in(smooth, hole, quad, Grey(), 16).astype(int)
    assert np.abs(np.diff(made[45, 40:80, 0])).max() <= 4


def test_join_keeps_the_details_that_were_drawn() -> None:
    drawn = torch.zeros(1, 3, 32, 32)
    drawn[..., 15:17, 15:17] = 0.8
    hole = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hole[..., 8:24, 8:24] = True
    made = join(drawn, torch.full((1, 3, 32, 32), 0.1), hole)
    assert made[0, 0, 15, 15] - made[0, 0, 12, 12] > 0.7


def test_hole_beside_the_face_or_over_all_of_it_is_one_line(picture: UInt8, quad: Float32) -> None:
    with pytest.raises(MediaError, match=r"mask\.png: the mask lies beside the face"):
        inpaint_in(picture, box(0, 0, 8, 8), quad, Grey(), 16, where=Path("mask.png"))
    everything = np.ones((90, 120), np.bool_)
    everything[0, 0] = False
    with pytest.raises(MediaError, match="covers the whole face"):
        inpaint_in(picture, everything, quad, Grey(), 16)


def test_filled_picture_differs_in_the_hole_alone(picture: UInt8) -> None:
    hole = box(50, 40, 20, 10)
    filled = without_hole(picture, hole)
    np.testing.assert_array_equal(filled[~hole], picture[~hole])
    assert filled[hole].std() < picture[hole].std() / 2


@pytest.mark.parametrize("how", ["nearest", "area", "bicubic"])
def test_enlarged_face_made_small_is_what_was_read(how: str) -> None:
    """Whatever the prior draws."""
    small = resize(np.random.default_rng(0).integers(60, 196, (4, 4, 3), np.uint8), 8, 8)
    drawn = draw_enlarged(small, whole_quad(8), 8, Grey(), 32, how)
    again = downsample(to_tensor(drawn[None]), 4, how)
    assert (again - to_tensor(small[None])).abs().max() < 0.04


def test_face_is_taken_at_the_px_it_has() -> None:
    def quad_of(side: float) -> Float32:
        return quad_from_pose(np.array([50.0, 50.0]), np.array(side / 2), np.array(0.1))

    assert [known_side(quad_of(side), 64, "a.png") for side in (4, 7, 8, 11, 12, 31, 35)] == [4, 8, 8, 16, 16, 32, 32]
    with pytest.raises(MediaError, match=r"a\.png: the face is 40 px wide and the model draws 64, which adds nothing"):
        known_side(quad_of(40), 64, "a.png")
    with pytest.raises(MediaError, match=r"the face is 1\.0 px wide"):
        known_side(quad_of(1), 64, "a.png")


def test_crop_is_its_own_quad() -> None:
    square = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(crop(square, whole_quad(16), 16), square)


def test_face_in_a_photograph_gets_its_hole_drawn(face_picture: Path) -> None:
    picture = read_image(face_picture)
    quad = largest_face(picture, face_picture)
    centre = quad.mean(0).round().astype(int)
    hole = np.zeros(picture.shape[:2], np.bool_)
    hole[centre[1] : centre[1] + 20, centre[0] - 20 : centre[0] + 20] = True
    generator = tiny_generator()
    prior = GeneratorPrior(generator, None, MultiScaleLoss(), PRESETS["fast"])
    made = inpaint_in(picture, hole, quad, prior, 16)
    np.testing.assert_array_equal(made[~hole], picture[~hole])
