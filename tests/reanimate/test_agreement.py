"""A copy agrees, a shifted copy is late by its shift, and what does not move agrees with nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import face_points

from reanimate.agreement import agree, jerk, restlessness, undisturbed

RATE = Fraction(25)
FRAMES = 150
ONE_SHOT = np.arange(FRAMES) == 0


def speech(shift: float = 0.0) -> np.ndarray:
    """A smooth curve that does not repeat itself."""
    t = (np.arange(FRAMES) - shift) / 25
    return np.sin(7 * t) + 0.7 * np.sin(11.3 * t + 1) + 0.5 * np.sin(3.1 * t + 2)


def test_copy_agrees_wholly() -> None:
    found = agree(speech(), speech(), RATE, ONE_SHOT)
    assert (found.correlation, found.amplitude) == pytest.approx((1, 1))
    assert found.lag == pytest.approx(0, abs=1e-6)
    assert found.frames == FRAMES


def test_offset_and_scale_change_the_amplitude_alone() -> None:
    found = agree(speech(), 0.4 * speech() + 12, RATE, ONE_SHOT)
    assert (found.correlation, found.amplitude) == pytest.approx((1, 0.4))


def test_opposite_movement_is_a_correlation_of_minus_one() -> None:
    assert agree(speech(), -speech(), RATE, ONE_SHOT).correlation == pytest.approx(-1)


@pytest.mark.parametrize("late", [-5.0, -0.5, 0.0, 0.3, 2.0, 7.4])
def test_lag_of_a_shifted_curve_is_recovered_to_a_fraction_of_a_frame(late: float) -> None:
    assert agree(speech(), speech(late), RATE, ONE_SHOT).lag == pytest.approx(late, abs=0.1)


def test_lag_beyond_half_a_second_is_none() -> None:
    slow = np.sin(np.arange(FRAMES + 25) / 30)
    assert np.isnan(agree(slow[25:], slow[:-25], RATE, ONE_SHOT).lag)


def test_lag_of_a_short_clip_is_looked_for_as_far_as_it_goes() -> None:
    assert agree(speech()[:12], speech(1)[:12], RATE, ONE_SHOT[:12]).lag == pytest.approx(1, abs=0.3)
    assert np.isnan(agree(speech()[:2], speech()[:2], RATE, ONE_SHOT[:2]).lag)


def test_frozen_result_agrees_with_nothing() -> None:
    found = agree(speech(), np.full(FRAMES, 3.0), RATE, ONE_SHOT)
    assert np.isnan(found.correlation) and np.isnan(found.lag)
    assert found.amplitude == 0


def test_frozen_source_has_nothing_to_follow() -> None:
    found = agree(np.full(FRAMES, 3.0), speech(), RATE, ONE_SHOT)
    assert np.isnan(found.correlation) and np.isnan(found.amplitude)


def test_missing_frames_are_left_out_and_counted() -> None:
    gappy = speech()
    gappy[20:50] = np.nan
    found = agree(speech(), gappy, RATE, ONE_SHOT)
    assert found.frames == FRAMES - 30
    assert (found.correlation, found.amplitude) == pytest.approx((1, 1))
    assert found.lag == pytest.approx(0, abs=0.1)
    assert np.isnan(agree(speech(), np.full(FRAMES, np.nan), RATE, ONE_SHOT).correlation)


def test_another_person_in_the_next_shot_is_no_movement() -> None:
    cuts = ONE_SHOT | (np.arange(FRAMES) == 75)
    jump = np.where(np.arange(FRAMES) >= 75, 40.0, 0.0)
    found = agree(speech() + jump, speech(), RATE, cuts)
    assert found.correlation > 0.99 and found.amplitude == pytest.approx(1, abs=0.02)
    assert agree(speech() + jump, speech(), RATE, ONE_SHOT).correlation < 0.5, "in one shot it would be one"


def test_curves_of_two_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="not of one clip"):
        agree(speech(), speech()[:-1], RATE, ONE_SHOT)


def pictures(levels: np.ndarray) -> list[np.ndarray]:
    return [np.full((4, 4, 3), level, np.uint8) for level in levels]


def test_steady_change_is_not_restless_and_a_flash_is() -> None:
    assert restlessness(pictures(np.arange(10) * 20))[1:-1] == pytest.approx(0)
    flash = restlessness(pictures(np.array([10, 10, 10, 40, 10, 10, 10])))
    assert flash[1:-1] == pytest.approx([0, 30, 60, 30, 0])


def test_restlessness_has_a_number_a_frame_and_none_at_the_ends() -> None:
    for count in (0, 1, 2, 3, 8):
        found = restlessness(pictures(np.zeros(count)))
        assert len(found) == count
        assert np.isfinite(found).sum() == max(count - 2, 0)


def test_cuts_and_missing_faces_disturb_their_neighbours() -> None:
    detected, cuts = np.ones(10, bool), np.arange(10) == 0
    assert undisturbed(detected, cuts).tolist() == [False, *[True] * 8, False]
    detected[3], cuts[7] = False, True
    assert np.flatnonzero(undisturbed(detected, cuts)).tolist() == [1, 5, 8]


def walking(num_frames: int = 40) -> np.ndarray:
    """Landmarks of a face that glides evenly across the picture."""
    return np.stack([face_points((3.0 * t, t), 100.0) for t in range(num_frames)])


def test_face_that_glides_does_not_shake() -> None:
    assert jerk(walking(), np.arange(40) == 0) < 1e-5


def test_shaking_is_measured_in_spans_of_the_eyes_whatever_the_size() -> None:
    cuts = np.arange(40) == 0
    shaken = walking() + np.random.default_rng(0).normal(size=(40, 68, 2)).astype(np.float32)
    assert jerk(2 * shaken, cuts) == pytest.approx(jerk(shaken, cuts), rel=1e-4)
    more = walking() + 2 * (shaken - walking())
    assert jerk(more, cuts) == pytest.approx(2 * jerk(shaken, cuts), rel=0.05)


def test_cuts_missing_faces_and_the_jaw_are_no_shaking() -> None:
    points = walking()
    points[20:] += 500
    points[30] = np.nan
    points[:, :17] += np.random.default_rng(0).normal(size=(40, 17, 2)).astype(np.float32)
    assert jerk(points, np.isin(np.arange(40), [0, 20])) < 1e-4
    assert np.isnan(jerk(np.full((9, 68, 2), np.nan, np.float32), np.arange(9) == 0))
    assert np.isnan(jerk(walking(3), np.arange(3) == 0))
