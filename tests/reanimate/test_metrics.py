from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from reanimate import metrics
from reanimate.errors import ReanimateError
from reanimate.faces.detect import DlibDetector
from reanimate.images import read_image, resize
from reanimate.metrics import SAME_PERSON, descriptor_at, face_descriptor, psnr

STILLS = SHARED / "stills"


def test_psnr_is_the_textbooks() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a + 255) == pytest.approx(0)
    assert psnr(a, a + 16) == pytest.approx(20 * np.log10(255 / 16))


def test_psnr_is_the_same_both_ways_and_does_not_wrap() -> None:
    a, b = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    assert psnr(a, b) == psnr(b, a)
    assert psnr(a, b) < 12


def test_psnr_of_equal_pictures_is_finite_and_above_all_others() -> None:
    a = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] ^= 1
    assert np.isfinite(psnr(a, a)) and psnr(a, a) > psnr(a, b) > 60


def test_face_is_the_same_person_at_half_the_size_and_mirrored(face_picture: Path) -> None:
    picture = read_image(face_picture)
    whole = face_descriptor(picture)
    assert whole is not None and whole.shape == (128,)
    half = face_descriptor(resize(picture, picture.shape[1] // 2, picture.shape[0] // 2))
    mirrored = face_descriptor(np.ascontiguousarray(picture[:, ::-1]))
    assert half is not None and mirrored is not None
    assert np.linalg.norm(half - whole) < SAME_PERSON / 2
    assert np.linalg.norm(mirrored - whole) < SAME_PERSON


def test_descriptor_at_known_landmarks_is_that_of_the_detected_face(face_picture: Path) -> None:
    picture = read_image(face_picture)
    picture = resize(picture, 256, 256)
    (face,) = DlibDetector().detect(picture)
    found = face_descriptor(picture)
    assert found is not None
    assert np.linalg.norm(descriptor_at(picture, face.landmarks) - found) < 1e-6


def test_picture_without_a_face_has_no_descriptor() -> None:
    assert face_descriptor(np.full((64, 64, 3), 128, np.uint8)) is None


def test_missing_dlib_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr(metrics, "_descriptor_network", metrics._descriptor_network.__wrapped__)
    with pytest.raises(ReanimateError, match="pip install dlib-bin") as caught:
        descriptor_at(np.zeros((64, 64, 3), np.uint8), np.zeros((68, 2), np.float32))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(not STILLS.is_dir(), reason="../shared/stills is not beside this checkout")
def test_two_people_are_two() -> None:
    a, b = (face_descriptor(read_image(STILLS / name)) for name in ("einstein.jpg", "astronaut.png"))
    assert a is not None and b is not None
    assert np.linalg.norm(a - b) > SAME_PERSON
