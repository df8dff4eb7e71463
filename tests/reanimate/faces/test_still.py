from __future__ import annotations

import numpy as np
import pytest
from conftest import face_points

from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import Face
from reanimate.faces.still import MIN_SIDE, aligned_crop, square_crop
from reanimate.types import UInt8

PICTURE = np.random.default_rng(0).integers(0, 256, (100, 140, 3), np.uint8)


def face(x: float, size: float, score: float) -> Face:
    return Face((x - size / 2, 50 - size / 2, x + size / 2, 50 + size / 2), score, face_points((x, 50), size))


class Sees:
    """A detector that sees what it is told."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Face]:
        return self.faces

    def detect_near(self, picture: UInt8, last: Face) -> Face | None:
        raise AssertionError("a still has no frame before")


def test_largest_face_is_cropped_not_the_surest() -> None:
    small, large = face(30, 20, score=3), face(90, 40, score=0.4)
    made = aligned_crop(PICTURE, 16, "a.png", Sees(small, large))
    assert np.array_equal(made, crop(PICTURE, quad_from_landmarks(large.landmarks), 16))


def test_picture_without_a_face_is_named_in_one_line_with_a_cure() -> None:
    with pytest.raises(FaceNotFound) as caught:
        aligned_crop(PICTURE, 16, "cat.png", Sees())
    assert str(caught.value).startswith("cat.png: no human face")
    assert "--no-align" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_crop_of_the_right_size_is_taken_as_it_is() -> None:
    assert np.array_equal(square_crop(PICTURE[:64, :64], 64, "a.png"), PICTURE[:64, :64])


@pytest.mark.parametrize("resolution", [16, 64, 128])
def test_crop_of_another_size_is_resized(resolution: int) -> None:
    flat = np.full((50, 50, 3), (9, 99, 199), np.uint8)
    made = square_crop(flat, resolution, "a.png")
    assert made.shape == (resolution, resolution, 3) and (made == (9, 99, 199)).all()


def test_crop_that_is_not_square_is_an_error() -> None:
    with pytest.raises(MediaError, match="140x100"):
        square_crop(PICTURE, 16, "a.png")


def test_crop_too_small_to_be_anything_is_an_error() -> None:
    side = MIN_SIDE - 1
    with pytest.raises(MediaError, match=f"{side}x{side}"):
        square_crop(PICTURE[:side, :side], 16, "a.png")
