from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from reanimate.errors import ReanimateError
from reanimate.faces import detect
from reanimate.faces.detect import DlibDetector, Face, model_file
from reanimate.images import read_image, resize
from reanimate.types import UInt8

STILLS = SHARED / "stills"
needs_stills = pytest.mark.skipif(not STILLS.is_dir(), reason="../shared/stills is not beside this checkout")


@pytest.fixture(scope="module")
def picture(face_picture: Path) -> UInt8:
    return read_image(face_picture)


@pytest.fixture(scope="module")
def found(picture: UInt8) -> Face:
    faces = DlibDetector().detect(picture)
    assert len(faces) == 1
    return faces[0]


def middle(face: Face) -> np.ndarray:
    return np.array([face.box[0] + face.box[2], face.box[1] + face.box[3]]) / 2


def test_landmarks_are_a_face_in_the_order_of_300_w(found: Face) -> None:
    points = found.landmarks
    assert points.shape == (68, 2) and points.dtype == np.float32
    eye_left, eye_right, mouth, chin = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0), points[8]
    assert eye_left[0] < mouth[0] < eye_right[0]
    assert max(eye_left[1], eye_right[1]) < mouth[1] < chin[1]
    left, top, right, bottom = found.box
    assert left < points[30, 0] < right and top < points[30, 1] < bottom


def test_area_is_the_boxs(found: Face) -> None:
    left, top, right, bottom = found.box
    assert found.area == pytest.approx((right - left) * (bottom - top))


def test_results_are_in_px_of_the_picture_whatever_its_size(picture: UInt8, found: Face) -> None:
    for scale in (0.4, 2.0):
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        (face,) = DlibDetector().detect(resize(picture, *size))
        width = found.box[2] - found.box[0]
        assert np.abs(middle(face) / scale - middle(found)).max() < 0.15 * width
        assert np.abs(face.landmarks.mean(0) / scale - found.landmarks.mean(0)).max() < 0.1 * width


def test_face_in_a_corner_is_found_there(picture: UInt8, found: Face) -> None:
    canvas = np.full((picture.shape[0] * 2, picture.shape[1] * 3, 3), 90, np.uint8)
    y, x = picture.shape[0], 2 * picture.shape[1]
    canvas[y:, x:] = picture
    (face,) = DlibDetector().detect(canvas)
    assert np.abs(middle(face) - [x, y] - middle(found)).max() < 0.15 * (found.box[2] - found.box[0])


def test_two_faces_are_two(picture: UInt8) -> None:
    faces = DlibDetector().detect(np.concatenate([picture, picture], 1))
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score


@pytest.mark.parametrize("thorough", [True, False])
def test_noise_has_no_face(thorough: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    assert DlibDetector().detect(noise, thorough=thorough) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (64, 64, 3)])
def test_flat_pictures_of_any_shape_have_no_face(shape: tuple[int, int, int]) -> None:
    assert DlibDetector().detect(np.full(shape, 128, np.uint8), thorough=False) == []


def test_face_is_found_again_near_where_it_was(picture: UInt8, found: Face) -> None:
    moved = np.roll(picture, (6, -5), axis=(0, 1))
    again = DlibDetector().detect_near(moved, found)
    assert again is not None
    assert np.abs(again.landmarks.mean(0) - found.landmarks.mean(0) - (-5, 6)).max() < 0.03 * (
        found.box[2] - found.box[0]
    )


def test_nothing_is_found_near_where_no_face_is(picture: UInt8, found: Face) -> None:
    assert DlibDetector().detect_near(np.full_like(picture, 128), found) is None


def test_face_that_left_the_picture_is_not_near(picture: UInt8, found: Face) -> None:
    gone = Face((-500.0, -500.0, -400.0, -400.0), 1.0, found.landmarks)
    assert DlibDetector().detect_near(picture, gone) is None


def test_missing_network_file_is_one_line_that_says_what_to_install() -> None:
    with pytest.raises(ReanimateError, match="pip install face_recognition_models") as caught:
        model_file("none.dat")
    assert len(str(caught.value).splitlines()) == 1


def test_missing_dlib_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr(detect, "_dlib_parts", detect._dlib_parts.__wrapped__)
    with pytest.raises(ReanimateError, match="pip install dlib-bin") as caught:
        DlibDetector().detect(np.zeros((80, 80, 3), np.uint8))
    assert len(str(caught.value).splitlines()) == 1


@needs_stills
@pytest.mark.parametrize("name", ["monkey_no_human_face.jpg", "alpaca_no_human_face.jpg"])
def test_animals_have_no_human_face(name: str) -> None:
    assert DlibDetector().detect(read_image(STILLS / name)) == []


@needs_stills
@pytest.mark.parametrize("name", ["astronaut.png", "mona_lisa.jpg", "einstein.jpg"])
def test_portraits_have_one_face(name: str) -> None:
    assert len(DlibDetector().detect(read_image(STILLS / name))) == 1


def test_landmarks_hardly_depend_on_where_the_detectors_box_fell(picture: UInt8) -> None:
    """Its grid lies elsewhere over a picture that is moved by some px, and the face's landmarks move with the picture
    all the same: their spread is under a quarter of a hundredth of an eye span.
    """
    found = []
    for by in range(9):
        moved = np.pad(picture, ((by, 0), (2 * by, 0), (0, 0)), mode="edge")
        (face,) = DlibDetector().detect(moved)
        found.append(face.landmarks - [2 * by, by])
    points = np.stack(found)
    span = float(np.linalg.norm(points[0, 45] - points[0, 36]))
    assert points.std(0).mean() < 0.0025 * span
