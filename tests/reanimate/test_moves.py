from __future__ import annotations

from dataclasses import replace

import numpy as np

from reanimate.moves import along, as_others_see, as_seen, mended, moves_of, rehearsed, unexplained
from reanimate.types import Rehearsal


def test_moves_are_heads_and_widths_from_the_middle_of_the_shot_lips_apart_and_eyes_by_their_own() -> None:
    attributes = np.array(
        [
            [10, 2, 0.1, 0.3, 0.6],
            [20, 4, 0.0, 0.3, 0.6],
            [np.nan] * 5,
            [30, 6, 0.2, 0.135, 0.9],
            [-40, 0, 0.0, 0.2, 0.7 * np.cos(np.radians(40))],
            [-20, 0, 0.3, 0.2, 0.8 * np.cos(np.radians(20))],
        ],
        np.float32,
    )
    moves = moves_of(attributes, np.array([True, False, False, False, True, False]))
    assert moves is not None
    np.testing.assert_allclose(moves[:, 0], [-10, 0, 5, 10, -10, 10], atol=1e-5)
    np.testing.assert_allclose(moves[:4, 1], [-2, 0, 1, 2], atol=1e-5)
    np.testing.assert_allclose(moves[:, 2], [0.1, 0.0, 0.1, 0.2, 0.0, 0.3], atol=1e-5)
    np.testing.assert_allclose(moves[[0, 1, 3, 4, 5], 3], [1, 1, 0, 1, 1], atol=1e-5)
    np.testing.assert_allclose(moves[4:, 4], [-0.05, 0.05], atol=1e-5, err_msg="a turned head shows a narrower mouth")
    assert moves_of(np.full((3, 5), np.nan, np.float32), np.zeros(3, bool)) is None


def test_what_moves_less_than_landmarks_err_is_still() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 5)) * [0.2, 0.2, 0.003, 0.003, 0.004] + [5, -3, 0.1, 0.3, 0.6]
    moves = moves_of(noise.astype(np.float32), np.arange(200) == 0)
    assert moves is not None and (np.ptp(moves, 0) < 1e-6).all()
    noise[:, 2] += 0.05 * np.sin(np.arange(200))
    moves = moves_of(noise.astype(np.float32), np.arange(200) == 0)
    assert moves is not None and (np.ptp(moves[:, [0, 1, 3, 4]], 0) < 1e-6).all()
    np.testing.assert_allclose(moves[:, 2], noise[:, 2], atol=1e-6, err_msg="what moves is left as it was seen")


def of(attribute: np.ndarray, shown: np.ndarray, rest: np.ndarray, offsets: np.ndarray) -> Rehearsal:
    """A rehearsal whose pictures nobody reads."""
    return Rehearsal(attribute, shown, rest, offsets, np.zeros((5, 2), np.float32))


def rehearsal() -> Rehearsal:
    """Yaw at -20 and 20 degrees, and lips 0.3 apart where they are 0.1 apart at rest."""
    offsets = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)
    rest = np.array([0, 0, 0.1, 1, 0], np.float32)
    return of(np.array([0, 0, 2]), np.array([20, -20, 0.3], np.float32), rest, offsets)


def test_between_rehearsed_poses_codes_are_drawn_straight_and_beyond_them_they_stay() -> None:
    known = rehearsal()
    poses = [(0, 0.1, 1), (10, 0.1, 0), (-20, 0.1, 1), (90, 0.1, 1), (0, 0.2, 1), (20, 0.3, 1)]
    moves = np.array([(yaw, 5, mouth, eyes, 0.1) for yaw, mouth, eyes in poses])
    found = rehearsed(known, moves)
    right, left, wide = known.offsets.astype(np.float64)
    expected = np.stack([0 * right, right / 2, left, right, wide / 2, right + wide])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_eyes_are_open_however_gaze_and_nods_change_them_and_close_and_widen_beyond() -> None:
    opening = np.array([1.0, 0.9, 1.05, 0.85, 0.65, 0.45, 0.2, 1.4, 1.0, 1.0, 1.0, 1.0])
    attributes = np.zeros((12, 5), np.float32)
    attributes[:, 3], attributes[:, 4] = 0.3 * opening, 0.6
    moves = moves_of(attributes, np.arange(12) == 0)
    assert moves is not None
    np.testing.assert_allclose(moves[:8, 3], [1, 1, 1, 1, 0.5, 0, 0, 1.3], atol=0.02)


def test_heads_turn_and_nod_no_farther_together_than_in_one_of_both() -> None:
    known = wide()
    offsets = np.zeros((7, 6, 8), np.float32)
    offsets[:4, 0, 0], offsets[:4, 0, 1] = [-20, 20, 0, 0], [0, 0, -20, 20]
    moves = np.zeros((5, 5))
    moves[:, :2], moves[:, 3] = [[20, 0], [0, -20], [20, 20], [-60, 60], [10, 10]], 1
    found = rehearsed(replace(known, offsets=offsets), moves)[:, 0, :2]
    most = 20 / 2 ** (1 / 3)
    np.testing.assert_allclose(found, [[20, 0], [0, -20], [most, most], [-most, most], [10, 10]], rtol=1e-4, atol=1e-4)


def test_what_goes_along_with_moves_is_taken_out_of_deltas() -> None:
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(50, 5)).astype(np.float32)
    along, other, one = rng.normal(size=(5, 48)), rng.normal(size=(50, 48)), np.arange(50) == 0
    left = unexplained((moves @ along + 3).reshape(50, 6, 8).astype(np.float32), moves, one)
    np.testing.assert_allclose(left, np.broadcast_to(left.mean(0), left.shape), atol=1e-4)
    rest = unexplained(other.reshape(50, 6, 8).astype(np.float32), moves, one).reshape(50, 48)
    np.testing.assert_allclose((moves - moves.mean(0)).T @ rest, 0, atol=1e-3)


def test_what_drifts_with_the_time_in_a_shot_is_taken_out_of_deltas() -> None:
    rng = np.random.default_rng(0)
    cuts = np.isin(np.arange(90), [0, 60])
    time = np.where(np.arange(90) < 60, np.arange(90), np.arange(90) - 60)
    drift = np.outer(np.log1p(time), rng.normal(size=48)) + np.where(time < 60, 1, 0)[:, None] * rng.normal(size=48)
    still = unexplained(drift.reshape(90, 6, 8).astype(np.float32), np.zeros((90, 5), np.float32), cuts)
    for shot in (still[:60], still[60:]):
        np.testing.assert_allclose(shot, np.broadcast_to(shot.mean(0), shot.shape), atol=1e-4)
    np.testing.assert_allclose(still[60:].mean(0), drift[60:].mean(0).reshape(6, 8), atol=1e-4)


def ramp() -> Rehearsal:
    """Yaw at -20, -10, 10 and 20 degrees, whose codes lie on a line, and an eye that closes."""
    line = np.arange(48.0).reshape(6, 8).astype(np.float32)
    shown = np.array([-20, 10, -10, 20, 0], np.float32)
    rest = np.array([0, 0, 0.1, 1, 0], np.float32)
    offsets = np.concatenate([shown[:4, None, None] * line, line[None]])
    return of(np.array([0, 0, 0, 0, 3]), shown, rest, offsets)


def test_places_lie_evenly_between_poses_and_a_little_beyond_them() -> None:
    known, places = ramp(), along(ramp())
    yaw = places.attribute == 0
    expected = np.delete(np.arange(-7, 8), 7) * 10 / 3
    np.testing.assert_allclose(places.shown[yaw], expected, atol=1e-5)
    np.testing.assert_allclose(places.offsets[yaw], expected[:, None, None] * known.offsets[-1], rtol=1e-5, atol=1e-4)
    assert (places.attribute[~yaw] == 3).all() and places.shown[~yaw].min() < 0, "lids have places too"
    moves = np.array([[5.0, 0, 0.1, 1, 0], [-16, 0, 0.1, 0.5, 0]])
    np.testing.assert_allclose(rehearsed(places, moves), rehearsed(known, moves), rtol=1e-4, atol=1e-3)


def test_attribute_with_no_pose_or_one_has_as_many_places_as_it_can() -> None:
    places = along(rehearsal())
    assert set(places.attribute.tolist()) == {0, 2}
    assert places.shown[places.attribute == 2].max() > 0.3, "one pose and rest are a way"
    none = replace(rehearsal(), attribute=np.array([0, 0, 0]), shown=np.array([20, -20, 10], np.float32))
    assert set(along(none).attribute.tolist()) == {0}


def test_places_are_named_by_what_is_seen_of_them() -> None:
    places = along(ramp())
    found = np.zeros((len(places.shown), 5))
    yaw = places.attribute == 0
    found[yaw, 0] = 0.8 * places.shown[yaw]
    found[~yaw, 3] = places.shown[~yaw] - 1
    named = as_seen(places, found)
    np.testing.assert_allclose(named.shown[yaw], 0.8 * places.shown[yaw], rtol=0.02)
    np.testing.assert_allclose(named.shown[~yaw], places.shown[~yaw], atol=1e-6)
    moves = np.array([[8.0, 0, 0.1, 1, 0]])
    np.testing.assert_allclose(rehearsed(named, moves)[0], 10 * ramp().offsets[-1], rtol=0.03, atol=0.1)


def test_what_is_seen_of_a_place_rises_and_is_believed_within_bounds() -> None:
    places = along(ramp())
    found = np.zeros((len(places.shown), 5))
    yaw = np.flatnonzero(places.attribute == 0)
    found[yaw, 0] = 0.8 * places.shown[yaw]
    found[yaw[10], 0] = -40  # of one place something else is read
    named = as_seen(places, found).shown[yaw]
    assert (np.diff(named) >= 0).all()
    share = named / places.shown[yaw]
    np.testing.assert_allclose(share, 0.8, rtol=1e-5, err_msg="one place says nothing against its neighbours")
    found[yaw, 0] = np.where(np.arange(14) < 11, 0.2, 2) * places.shown[yaw]
    share = as_seen(places, found).shown[yaw] / places.shown[yaw]
    np.testing.assert_allclose(share[[0, 13]], [0.4, 1.25], rtol=1e-5, err_msg="bounds of what is believed")


def wide() -> Rehearsal:
    """Yaw and pitch by 20 degrees, lips 0.4 apart, a smile by 0.1 to both sides."""
    attribute, shown = np.array([0, 0, 1, 1, 2, 4, 4]), np.array([-20, 20, -20, 20, 0.4, -0.1, 0.1], np.float32)
    return of(attribute, shown, np.array([0, 0, 0, 1, 0], np.float32), np.zeros((7, 6, 8), np.float32))


def movement() -> np.ndarray:
    t = np.arange(60) / 60 * 2 * np.pi
    return np.stack([5 * np.sin(t), 4 * np.cos(t), 0.1 + 0.05 * np.sin(t), 1 + 0 * t, 0.02 * np.cos(t)], 1)


def test_movements_that_interfere_are_mended_until_they_are_seen() -> None:
    wanted = movement()
    mixing = np.diag([0.8, 0.7, 0.8, 0.5, 0.9])
    mixing[2, 1], mixing[1, 2], mixing[2, 4] = 15, 0.002, -0.2  # lips bend the head and narrow the smile
    asked, errors = wanted, []
    for _ in range(5):
        found = asked @ mixing + [7, -3, 0, 0.5, 0.6]  # heads and widths count about their means
        missing = found - wanted
        missing[:, [0, 1, 4]] -= missing[:, [0, 1, 4]].mean(0)
        errors.append(np.abs(missing).max(0)[[0, 1, 2, 4]])
        asked = mended(wide(), wanted, asked, found, 3)
    assert (errors[-1] < 0.2 * errors[0]).all()


def test_what_is_asked_for_is_never_far_from_what_is_wanted() -> None:
    wanted = movement()
    asked = wanted
    for _ in range(20):
        asked = mended(wide(), wanted, asked, np.zeros((60, 5)), 3)  # nothing is ever seen to move
    np.testing.assert_allclose(np.abs(asked - wanted).max(0), [16, 16, 0.16, 0, 0.08], rtol=0.01)


def test_later_rounds_ask_for_less_of_what_is_missing() -> None:
    wanted = movement()
    found = wanted.copy()
    found[:, 2] -= 0.03
    steps = [mended(wide(), wanted, wanted, found, 9, before) - wanted for before in range(3)]
    np.testing.assert_allclose(steps[1], steps[0] / 2, atol=1e-9)
    np.testing.assert_allclose(steps[2], steps[0] / 3, atol=1e-9)
    assert np.abs(steps[0]).max() > 0.02


def test_landmarks_err_from_frame_to_frame_so_that_what_they_miss_of_mouths_is_averaged() -> None:
    wanted = movement()
    found = wanted.copy()
    found[30, 2], found[30, 3] = wanted[30, 2] - 0.1, wanted[30, 3] - 0.1
    asked = mended(wide(), wanted, wanted, found, 9) - wanted
    assert 0 < asked[30, 2] < 0.03 and asked[27, 2] > 0.001, "spread over its neighbours"
    assert asked[29, 3] == asked[31, 3] == 0, "eyes are read, not seen"


def test_mouths_show_what_landmarks_see_of_them_if_it_is_near_and_nothing_else_does() -> None:
    true = np.zeros((6, 5))
    true[:, 2], true[:, 3], true[:, 4] = [0.02, 0.1, 0.1, 0.3, 0.1, 0.2], 1, [0, 0, 0.1, 0.05, -0.1, -0.05]
    seen = true.copy()
    seen[:, 0] = [0, 30, 0, 0, 0, 0]
    seen[:, 2], seen[:, 3] = [0.01, 0.07, 0.3, 0.1, np.nan, 0.2], 0.3
    width = true[:, 4] + [0.6, 0.6, 0.62, 0.7, 0.6, 0.6]
    seen[:, 4] = width * np.cos(np.radians(seen[:, 0]))  # a turned head shows a narrower mouth
    found = as_others_see(true, seen)
    np.testing.assert_allclose(found[:, 2], [0.01, 0.07, 0.13, 0.22, 0.1, 0.2], atol=1e-6)
    middle = (0.02 + 0.1) / 5  # of the five that are seen; where it lies does not matter
    expected = true[:, 4] + np.array([-middle, -middle, 0.02 - middle, 0.04, 0, -middle])
    np.testing.assert_allclose(found[:, 4], expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, [0, 1, 3]], true[:, [0, 1, 3]])
    np.testing.assert_array_equal(as_others_see(true, np.full((6, 5), np.nan)), true)
