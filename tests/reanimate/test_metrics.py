from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from scipy.linalg import sqrtm

from reanimate import metrics
from reanimate.errors import ReanimateError
from reanimate.faces.detect import DlibDetector
from reanimate.images import read_image, resize
from reanimate.metrics import (
    MEASURING_SIDE,
    SAME_PERSON,
    descriptor_at,
    face_descriptor,
    frechet_distance,
    kernel_distance,
    likeness,
    nearest,
    psnr,
    surest_face,
)

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


def test_surest_face_of_a_small_crop_is_in_px_of_the_enlarged_one(face_picture: Path) -> None:
    small = resize(read_image(face_picture), 128, 128)
    seen = surest_face(small)
    assert seen is not None
    assert seen[0].shape == (MEASURING_SIDE, MEASURING_SIDE, 3)
    assert seen[1].landmarks.min() > 0 and MEASURING_SIDE / 2 < seen[1].landmarks.max() < MEASURING_SIDE


def faces_at(distances: list[float]) -> np.ndarray:
    """Descriptors [N, 128] at these distances from the origin, each in a direction of its own."""
    return np.diag(np.resize(distances, 128))[: len(distances)]


def test_likeness_is_by_distance_to_both() -> None:
    origin, far = np.zeros(128), np.full(128, 1.0)
    found = likeness(faces_at([0.2, 0.4, 0.9]), origin, far)
    assert (found.mean, found.worst, found.under) == pytest.approx((0.5, 0.9, 2 / 3))
    assert found.nearer == 1 and found.frames == 3
    swapped = likeness(faces_at([0.2, 0.4, 0.9]), far, origin)
    assert swapped.nearer == 0 and swapped.to_source == pytest.approx(0.5)


def test_likeness_leaves_out_frames_without_a_face() -> None:
    frames = faces_at([0.2, 0.4, 0.9])
    frames[2] = np.nan
    found = likeness(frames, np.zeros(128), np.ones(128))
    assert found.frames == 2 and found.worst == pytest.approx(0.4)
    none = likeness(np.full((3, 128), np.nan), np.zeros(128), np.ones(128))
    assert none.frames == 0 and np.isnan(none.mean) and np.isnan(none.nearer)


def test_face_is_nearer_to_its_own_crop_than_to_someone_elses(face_picture: Path, second_target: Path) -> None:
    own, other = (face_descriptor(read_image(path)) for path in (face_picture, second_target))
    crop = face_descriptor(resize(read_image(face_picture), 128, 128))
    assert own is not None and other is not None and crop is not None
    found = likeness(crop[None], own, other)
    assert found.nearer == 1 and found.mean < found.to_source


def test_nearest_finds_each_in_a_crowd() -> None:
    crowd = np.random.default_rng(0).normal(size=(20, 128))
    order = np.random.default_rng(1).permutation(20)
    assert nearest(crowd[order] + 0.01, crowd).tolist() == order.tolist()


def gaussians(shift: float, size: float, count: int = 4000) -> np.ndarray:
    return np.random.default_rng(round(100 * shift + size)).normal(shift, size, (count, 8))


def test_frechet_distance_is_that_of_the_gaussians() -> None:
    """Isotropic: |difference of means|² + F (difference of deviations)²."""
    assert frechet_distance(gaussians(0, 1), gaussians(2, 3)) == pytest.approx(8 * 4 + 8 * 4, rel=0.05)
    same = gaussians(0, 1)
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_the_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1
    root = sqrtm(np.cov(a.T) @ np.cov(b.T))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_of_one_population_is_around_zero_and_grows_with_the_difference() -> None:
    same = [kernel_distance(gaussians(0, 1, 200), np.random.default_rng(i).normal(size=(200, 8))) for i in range(10)]
    assert min(same) < 0 < max(same), "unbiased"
    assert max(np.abs(same)) < kernel_distance(gaussians(0, 1, 200), gaussians(0.5, 1, 200))
