from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import face_points

from reanimate.faces.align import (
    crop,
    head_motion,
    paste,
    pose_from_quad,
    put_back,
    quad_from_landmarks,
    quad_from_pose,
    shots,
    smooth_quads,
)
from reanimate.images import resize

RATE = Fraction(25)


def published_quad(landmarks: np.ndarray) -> np.ndarray:
    """The corners as the FFHQ paper's preparation computes them, in its own order of steps."""
    eye_left, eye_right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    eye_avg, eye_to_eye = (eye_left + eye_right) * 0.5, eye_right - eye_left
    eye_to_mouth = (landmarks[48] + landmarks[54]) * 0.5 - eye_avg
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.array([-x[1], x[0]])
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth colour picture, known at any point."""
    waves = [np.sin(x / 17 + y / 41), np.cos(x / 29 - y / 19), np.sin((x + y) / 37) * np.cos(y / 23)]
    return np.stack(waves, -1) * 100 + 128


def taken(size: int, turn: float = 0.0, zoom: float = 1.0, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The scene photographed by a camera that turned, zoomed and moved."""
    at = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    back = (at - shift) / zoom @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.round(scene(back[..., 0], back[..., 1])).astype(np.uint8)


def moved(points: np.ndarray, turn: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (zoom * points @ rotation.T + shift).astype(np.float32)


def square(left: float, top: float, side: float) -> np.ndarray:
    right, bottom = left + side, top + side
    return np.array([[left, top], [left, bottom], [right, bottom], [right, top]], np.float32)


@pytest.mark.parametrize("roll", [0.0, 0.4, -1.2, 3.0])
@pytest.mark.parametrize("stretch", [(1, 1), (1, 1.6), (1.7, 1)])
def test_quad_has_the_published_geometry(roll: float, stretch: tuple[float, float]) -> None:
    landmarks = face_points((150, 90), 80, roll) * np.float32(stretch)
    assert np.allclose(quad_from_landmarks(landmarks), published_quad(landmarks.astype(np.float64)), atol=1e-3)


def test_corners_run_from_top_left_against_the_clock() -> None:
    top_left, bottom_left, bottom_right, top_right = quad_from_landmarks(face_points((100, 100)))
    assert top_left[0] == pytest.approx(bottom_left[0], abs=1e-3) and top_left[1] < bottom_left[1]
    assert bottom_left[1] == pytest.approx(bottom_right[1], abs=1e-3) and bottom_left[0] < bottom_right[0]
    assert top_right[1] == pytest.approx(top_left[1], abs=1e-3)


def test_many_faces_give_the_quads_of_each() -> None:
    faces = np.stack([face_points((i * 10, 5), 50 + i, i / 5) for i in range(6)])
    together = quad_from_landmarks(faces.reshape(2, 3, 68, 2))
    assert together.shape == (2, 3, 4, 2)
    assert np.allclose(together.reshape(6, 4, 2), np.stack([quad_from_landmarks(f) for f in faces]))


def test_quad_and_pose_are_each_others_inverse() -> None:
    quads = np.stack([quad_from_landmarks(face_points((i, -i), 60 + i, i)) for i in range(5)])
    assert np.allclose(quad_from_pose(*pose_from_quad(quads)), quads, atol=1e-3)


def test_missing_landmarks_give_no_quad_and_no_warning() -> None:
    assert np.isnan(quad_from_landmarks(np.full((68, 2), np.nan, np.float32))).all()


def test_quad_of_the_whole_picture_crops_exactly() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert np.array_equal(crop(picture, square(0, 0, 16), 16), picture)


def test_quad_on_whole_pixels_crops_exactly() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(crop(picture, square(31, 7, 16), 16), picture[7:23, 31:47])


def test_quarter_turn_crops_the_turned_pixels_exactly() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert np.array_equal(crop(picture, np.roll(square(0, 0, 16), -1, axis=0), 16), np.rot90(picture, -1))


def test_half_size_crop_is_the_mean_of_four_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    means = picture.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(crop(picture, square(0, 0, 32), 16) - means).max() <= 0.5


@pytest.mark.parametrize(
    ("turn", "zoom", "shift"), [(0.3, 1.0, (60, -20)), (0.0, 2.0, (0, 0)), (-0.5, 1.5, (0, 180)), (0.2, 0.7, (40, 30))]
)
def test_crop_of_a_turned_and_scaled_picture_is_the_crop_of_the_upright_one(
    turn: float, zoom: float, shift: tuple[float, float]
) -> None:
    landmarks = face_points((128, 128), 70)
    upright = crop(taken(256), quad_from_landmarks(landmarks), 32)
    other = crop(taken(512, turn, zoom, shift), quad_from_landmarks(moved(landmarks, turn, zoom, shift)), 32)
    assert np.abs(upright.astype(int) - other).max() <= 3


def test_crop_shows_the_scene_where_the_quad_is() -> None:
    quad = quad_from_landmarks(face_points((120.3, 130.8), 77.7, 0.25)).astype(np.float64)
    shares = (np.arange(64) + 0.5) / 64
    across, down = np.meshgrid(shares, shares)
    at = quad[0] + across[..., None] * (quad[3] - quad[0]) + down[..., None] * (quad[1] - quad[0])
    made = crop(taken(256), quad.astype(np.float32), 64)
    assert np.abs(made - scene(at[..., 0], at[..., 1])).max() <= 4


def test_very_large_face_is_averaged_not_sampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    made = crop(noise, square(50, 50, 1100), 8)
    assert np.abs(made.astype(float) - 127.5).max() < 25  # a pixel stands for 18,900


def test_outside_the_picture_is_its_mirror() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    made = crop(picture, square(-8, 0, 32), 32)
    assert np.array_equal(made[:, 8:], picture[:, :24])
    assert np.array_equal(made[:, :8], picture[:, 8:0:-1])


@pytest.mark.parametrize(
    "quad", [square(500, 500, 40), square(-300, 0, 40), square(10, 10, 0), square(-900, -900, 2000)]
)
def test_any_quad_gives_a_crop_of_the_size_asked_for(quad: np.ndarray) -> None:
    assert crop(taken(64), quad, 16).shape == (16, 16, 3)


def test_cropping_leaves_the_picture_and_the_quad() -> None:
    picture, quad = taken(64), square(-5, -5, 60)
    before = picture.copy(), quad.copy()
    paste(crop(picture, quad, 16), quad, picture)
    assert np.array_equal(picture, before[0]) and np.array_equal(quad, before[1])


def inside(quad: np.ndarray, size: int, margin: float = 0.0) -> np.ndarray:
    """Which pixels lie in the quad, by `margin` of its side or more."""
    at = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1) - quad[0]
    edges = np.column_stack([quad[3] - quad[0], quad[1] - quad[0]]).astype(np.float64)
    share = at @ np.linalg.inv(edges).T
    return ((share > margin) & (share < 1 - margin)).all(-1)


def test_crop_pasted_back_is_the_picture_again() -> None:
    picture, quad = taken(256), quad_from_landmarks(face_points((128, 128), 60, 0.2))
    pasted = paste(crop(picture, quad, 256), quad, picture)
    assert np.abs(pasted.astype(int) - picture).max() <= 3


def test_pasting_changes_the_inside_and_not_one_pixel_outside() -> None:
    picture, quad = taken(256), quad_from_landmarks(face_points((128, 128), 60, 0.2))
    pasted = paste(np.full((32, 32, 3), (250, 0, 7), np.uint8), quad, picture)
    side = 2 * pose_from_quad(quad)[1]
    outside = ~inside(quad, 256, -1 / 32 - 1 / side)  # a pixel of the crop and one of the picture are blended
    assert outside.sum() > 5000
    assert np.array_equal(pasted[outside], picture[outside])
    assert (pasted[inside(quad, 256, 0.15)] == (250, 0, 7)).all()


def test_pasting_fades_at_the_edge() -> None:
    pasted = paste(
        np.full((64, 64, 3), 200, np.uint8), square(0, 0, 64), np.zeros((64, 64, 3), np.uint8), softness=0.25
    )
    row = pasted[32, :32, 0].astype(int)
    assert (np.diff(row) >= 0).all() and row[0] < 20 and (row[17:] == 200).all()
    assert np.diff(row).max() < 20


def test_hard_paste_on_whole_pixels_is_exact_but_for_its_outermost_pixels() -> None:
    picture, face = taken(64), np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    pasted = paste(face, square(20, 30, 16), picture, softness=0)
    assert np.array_equal(pasted[31:45, 21:35], face[1:-1, 1:-1])
    pasted[30:46, 20:36] = picture[30:46, 20:36]
    assert np.array_equal(pasted, picture)


def quads_over(centre: np.ndarray, half: np.ndarray | float = 50.0, roll: np.ndarray | float = 0.0) -> np.ndarray:
    count = len(centre)
    return quad_from_pose(centre.astype(float), np.broadcast_to(half, count), np.broadcast_to(roll, count))


def first_only(num_frames: int, *more: int) -> np.ndarray:
    return np.isin(np.arange(num_frames), [0, *more])


def test_still_face_has_a_still_quad() -> None:
    quads = quads_over(np.full((30, 2), 80.0), 33, 0.3)
    assert np.allclose(smooth_quads(quads, np.ones(30, bool), first_only(30), RATE), quads, atol=1e-3)


def test_shaking_is_calmed() -> None:
    shaken = quads_over(100 + np.random.default_rng(0).normal(0, 2, (100, 2)))
    calm = smooth_quads(shaken, np.ones(100, bool), first_only(100), RATE)
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.3 * np.abs(np.diff(shaken, axis=0)).mean()


def test_steady_movement_is_followed_without_delay() -> None:
    line = quads_over(np.linspace(0, 200, 101)[:, None] * [1, 0.5])
    smoothed = smooth_quads(line, np.ones(101, bool), first_only(101), RATE)
    assert np.allclose(smoothed[45:-45], line[45:-45], atol=1e-2)


def test_missing_frames_are_finite_and_between_their_neighbours() -> None:
    quads = quads_over(np.linspace(0, 100, 11)[:, None] * [1, 1])
    detected = ~np.isin(np.arange(11), [0, 4, 5, 10])
    quads[~detected] = np.nan
    smoothed = smooth_quads(quads, detected, first_only(11), Fraction(1))
    assert smoothed.shape == (11, 4, 2) and np.isfinite(smoothed).all()
    centres = pose_from_quad(smoothed)[0][:, 0]
    assert (np.diff(centres[3:7]) > 5).all()


def test_single_detection_holds_for_the_whole_clip() -> None:
    quads = quads_over(np.full((9, 2), 40.0))
    quads[np.arange(9) != 3] = np.nan
    smoothed = smooth_quads(quads, np.arange(9) == 3, first_only(9), RATE)
    assert np.allclose(smoothed, quads[3], atol=1e-3)


def test_shots_do_not_mix() -> None:
    centre = np.where(np.arange(40)[:, None] < 20, 50.0, 400.0) * np.ones(2)
    quads = quads_over(centre, np.where(np.arange(40) < 20, 30.0, 90.0))
    smoothed = smooth_quads(quads, np.ones(40, bool), first_only(40, 20), RATE)
    assert np.allclose(smoothed, quads, atol=1e-2)


def test_missing_frames_are_filled_from_their_own_shot() -> None:
    centre = np.where(np.arange(20)[:, None] < 10, 50.0, 400.0) * np.ones(2)
    quads = quads_over(centre)
    detected = ~np.isin(np.arange(20), [8, 9, 10, 11])
    wanted = quads.copy()
    quads[~detected] = np.nan
    assert np.allclose(smooth_quads(quads, detected, first_only(20, 10), RATE), wanted, atol=1e-2)


def test_shot_without_a_face_is_finite() -> None:
    quads = quads_over(np.full((20, 2), 50.0))
    quads[10:] = np.nan
    assert np.isfinite(smooth_quads(quads, np.arange(20) < 10, first_only(20, 10), RATE)).all()


def test_roll_across_half_a_turn_does_not_spin_the_quad() -> None:
    roll = np.pi + 0.1 * np.where(np.arange(40) % 2, 1, -1)
    smoothed = smooth_quads(quads_over(np.zeros((40, 2)), roll=roll), np.ones(40, bool), first_only(40), RATE)
    centre, half, angle = pose_from_quad(smoothed)
    assert np.abs(centre).max() < 1e-3 and np.allclose(half, 50, atol=1e-2)
    assert np.abs(np.cos(angle) + 1).max() < 0.01


def test_no_face_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        smooth_quads(np.full((3, 4, 2), np.nan, np.float32), np.zeros(3, bool), first_only(3), RATE)


def test_shots_are_every_frame_once_and_in_order() -> None:
    for marks in ([], [0], [4], [0, 1, 7]):
        runs = shots(np.isin(np.arange(8), marks))
        assert [i for run in runs for i in range(run.start, run.stop)] == list(range(8))
        assert [run.start for run in runs] == sorted({0, *marks})


def test_mouth_that_opens_changes_neither_size_nor_place_for_long() -> None:
    half = np.full(75, 50.0)
    half[30:42] *= 1.12  # half a second of an open mouth
    smoothed = smooth_quads(quads_over(np.full((75, 2), 100.0), half), np.ones(75, bool), first_only(75), RATE)
    assert np.ptp(pose_from_quad(smoothed)[1]) < 1e-3, "one size for the shot"


def test_face_that_comes_nearer_is_followed_in_size() -> None:
    half = np.linspace(40, 120, 100)
    smoothed = smooth_quads(quads_over(np.full((100, 2), 200.0), half), np.ones(100, bool), first_only(100), RATE)
    found = pose_from_quad(smoothed)[1]
    assert found[0] < 65 and found[-1] > 95 and (np.diff(found) > -1e-3).all()


def test_head_motion_is_what_each_shot_does_about_its_own_mean() -> None:
    centre = np.array([[100, 100], [110, 100], [500, 300], [500, 320]], float)
    roll = np.array([0.1, 0.3, 1.0, 1.0])
    head = head_motion(quads_over(centre, np.array([50.0, 50, 100, 100]), roll), first_only(4, 2))
    np.testing.assert_allclose(head[:, 0], [-0.1, 0.1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(head[:, 1], 0, atol=1e-4)
    np.testing.assert_allclose(head[:, 2], [-0.1, 0.1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(head[:, 3], [0, 0, -0.1, 0.1], atol=1e-4)


def dot(size: int, x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    spot = 255 * np.exp(-(np.square(columns + 0.5 - x) + np.square(rows + 0.5 - y)) / 8)
    return np.repeat(spot[:, :, None], 3, 2).astype(np.uint8)


def test_head_that_did_not_move_is_put_back_where_it_is() -> None:
    picture = dot(64, 20, 40)
    assert np.abs(put_back(picture, np.zeros(4, np.float32), 64).astype(int) - picture).mean() < 1


@pytest.mark.parametrize(
    ("head", "at"),
    [
        ((np.pi / 2, 0, 0, 0), (32, 52)),  # clockwise: what was on the right is below
        ((0, np.log(0.5), 0, 0), (42, 32)),
        ((0, 0, -0.5, 0.25), (36, 40)),
    ],
)
def test_head_turns_clockwise_grows_and_moves_as_it_did(head: tuple[float, ...], at: tuple[float, float]) -> None:
    found = put_back(dot(64, 52, 32), np.array(head, np.float32), 64)
    assert found[round(at[1]), round(at[0])].min() > 150


def test_head_motion_put_back_undoes_the_crop() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 12, 3), np.uint8)
    picture = np.asarray(resize(small, 240, 240))
    quads = quads_over(np.array([[120, 120], [126.0, 116]]), 60.0, np.array([-0.1, 0.1]))
    crops = [crop(picture, quad, 64) for quad in quads]
    head = head_motion(quads, first_only(2))
    back = [put_back(face, row, 64)[16:48, 16:48].astype(float) for face, row in zip(crops, head, strict=True)]
    still = crop(picture, quads_over(np.array([[123, 118]]), 60.0, 0.0)[0], 64)[16:48, 16:48]
    apart = [np.abs(face - still).mean() for face in back]
    before = np.abs(crops[0][16:48, 16:48].astype(float) - still).mean()
    assert max(apart) < 0.35 * before


def test_head_may_be_put_back_at_another_size() -> None:
    assert put_back(dot(16, 8, 8), np.array([0.2, 0.1, 0.1, 0], np.float32), 40).shape == (40, 40, 3)
