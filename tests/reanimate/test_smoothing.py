"""Filters take out the shaking and leave the rest: no delay, ends kept, no window over a cut."""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

import numpy as np
import pytest

from reanimate.smoothing import Filter, filtered, moving_average, one_euro, savitzky_golay, smooth, window_frames
from reanimate.types import PoseDeltas

RATE = Fraction(30000, 1001)
FILTERS = get_args(Filter)
CENTRED = [name for name in FILTERS if name != "one-euro"]


def some(num_frames: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 1, (num_frames, 6, 8)).astype(np.float32)


@pytest.mark.parametrize("rate", [Fraction(5), Fraction(24), Fraction(25), RATE, Fraction(60), Fraction(120)])
def test_window_is_odd_and_at_least_three_and_nearest(rate: Fraction) -> None:
    for seconds in (0.001, 0.05, 0.12, 0.13, 0.5, 2.0):
        frames = window_frames(seconds, rate)
        assert frames % 2 == 1 and frames >= 3
        assert frames == 3 or abs(frames - seconds * float(rate)) <= 1 + 1e-9


def test_zero_seconds_is_no_smoothing() -> None:
    deltas = PoseDeltas(some(), 1.0, RATE)
    assert window_frames(0, RATE) == 1
    assert np.array_equal(smooth(deltas, 0).deltas, deltas.deltas)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 8, 40])
@pytest.mark.parametrize("window", [1, 3, 7, 21])
def test_ends_constants_and_straight_lines_stay_for_any_length(num_frames: int, window: int) -> None:
    values = some(num_frames)
    averaged = moving_average(values, window)
    assert averaged.shape == values.shape and averaged.dtype == np.float32
    assert np.array_equal(averaged[[0, -1]], values[[0, -1]])
    constant = np.full((num_frames, 2), 0.1, np.float32)
    assert np.array_equal(moving_average(constant, window), constant)
    line = np.arange(num_frames, dtype=np.float32)[:, None] * np.float32([0.5, -3])
    assert np.allclose(moving_average(line, window), line, atol=1e-5)


def test_middle_of_a_window_is_its_plain_mean() -> None:
    values = some(9)
    assert np.allclose(moving_average(values, 5)[4], values[2:7].mean(0), atol=1e-6)


def test_average_has_no_delay() -> None:
    impulse = np.zeros((41, 1), np.float32)
    impulse[20] = 1
    answer = moving_average(impulse, 7)[:, 0]
    assert np.allclose(answer, answer[::-1], atol=1e-7)
    assert answer.sum() == pytest.approx(1, abs=1e-5)
    assert np.flatnonzero(answer > 1e-6).tolist() == list(range(17, 24))


def test_smoothing_calms_shaking() -> None:
    shaking = np.tile(np.float32([1, -1]), 20)[:, None]
    assert np.abs(moving_average(shaking, 5)[5:-5]).max() < 0.3


def test_no_window_reaches_over_a_cut() -> None:
    values = np.concatenate([np.zeros((7, 3)), np.ones((2, 3)), np.full((8, 3), 5)]).astype(np.float32)
    cuts = np.isin(np.arange(17), [0, 7, 9])
    assert np.array_equal(moving_average(values, 7, cuts), values)
    assert not np.allclose(moving_average(values, 7), values)


def test_shots_are_smoothed_as_if_they_were_clips() -> None:
    values = some(20)
    cuts = np.isin(np.arange(20), [0, 8])
    alone = np.concatenate([moving_average(values[:8], 5), moving_average(values[8:], 5)])
    assert np.array_equal(moving_average(values, 5, cuts), alone)


def test_cut_in_the_first_frame_means_nothing() -> None:
    values = some()
    for first in (False, True):
        cuts = np.zeros(12, bool)
        cuts[0] = first
        assert np.array_equal(moving_average(values, 3, cuts), moving_average(values, 3))


@pytest.mark.parametrize("window", [0, 2, 8])
def test_even_window_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        moving_average(some(), window)


def test_smoothing_deltas_is_averaging_them() -> None:
    deltas = PoseDeltas(some(30), 2.0, Fraction(25))
    assert np.array_equal(smooth(deltas, 0.2).deltas, moving_average(deltas.deltas, 5))


@pytest.mark.parametrize("method", FILTERS)
def test_every_filter_keeps_constants_calms_shaking_and_keeps_the_shape(method: Filter) -> None:
    constant = np.full((9, 2, 3), 0.1, np.float32)
    np.testing.assert_allclose(filtered(constant, 0.2, RATE, method=method), constant, atol=1e-6)
    shaking = np.tile(np.float32([1, -1]), 20)[:, None, None]
    calmed = filtered(shaking, 0.3, RATE, method=method)
    assert calmed.shape == shaking.shape and calmed.dtype == np.float32
    assert np.abs(calmed[5:-5]).mean() < 0.6
    assert filtered(shaking, 0.3, RATE, method=method)[0] == 1, "the first frame is kept"


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 4])
def test_every_filter_takes_any_length(method: Filter, num_frames: int) -> None:
    assert filtered(some(num_frames), 1.0, RATE, method=method).shape == (num_frames, 6, 8)


@pytest.mark.parametrize("method", FILTERS)
def test_every_filter_begins_anew_after_a_cut(method: Filter) -> None:
    values = some(20)
    cuts = np.isin(np.arange(20), [0, 8])
    alone = np.concatenate([filtered(part, 0.2, RATE, method=method) for part in (values[:8], values[8:])])
    np.testing.assert_array_equal(filtered(values, 0.2, RATE, cuts, method), alone)


@pytest.mark.parametrize("method", CENTRED)
def test_a_centred_filter_delays_nothing_and_keeps_both_ends(method: Filter) -> None:
    values = some(31)
    forward, backward = filtered(values, 0.3, RATE, method=method), filtered(values[::-1], 0.3, RATE, method=method)
    np.testing.assert_allclose(backward, forward[::-1], atol=1e-6)
    np.testing.assert_array_equal(forward[[0, -1]], values[[0, -1]])


def test_savitzky_golay_keeps_a_parabola_and_more_of_a_peak() -> None:
    t = np.arange(21, dtype=np.float32)[:, None]
    np.testing.assert_allclose(savitzky_golay(t**2, 7), t**2, atol=1e-3)
    peak = np.exp(-np.square(t - 10) / 8).astype(np.float32)
    assert savitzky_golay(peak, 7).max() > moving_average(peak, 7).max() + 0.1


def test_one_euro_knows_nothing_of_later_frames() -> None:
    values = some(20)
    changed = values.copy()
    changed[12:] += 5
    np.testing.assert_array_equal(one_euro(values, 0.3, RATE)[:12], one_euro(changed, 0.3, RATE)[:12])


def test_one_euro_follows_fast_movement_more_closely_than_slow() -> None:
    slow = np.linspace(0, 0.1, 60, dtype=np.float32)[:, None]
    late = [(values - one_euro(values, 1.0, RATE))[30] / values[-1] for values in (slow, 100 * slow)]
    assert late[1] < 0.7 * late[0]


def test_groups_of_layers_have_windows_of_their_own() -> None:
    deltas = PoseDeltas(np.random.default_rng(0).normal(size=(30, 10, 8)).astype(np.float32), 1.0, Fraction(25))
    smoothed = smooth(deltas, 9.9, group_seconds=(0.0, 0.12, 0.36)).deltas
    np.testing.assert_array_equal(smoothed[:, :4], deltas.deltas[:, :4])
    np.testing.assert_array_equal(smoothed[:, 4:8], moving_average(deltas.deltas[:, 4:8], 3))
    np.testing.assert_array_equal(smoothed[:, 8:], moving_average(deltas.deltas[:, 8:], 9))


def test_heads_are_smoothed_longer_than_lips() -> None:
    moves = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    deltas = PoseDeltas(some(30), 1.0, Fraction(25), moves=moves)
    smoothed = smooth(deltas, 0.12).moves
    assert smoothed is not None
    np.testing.assert_array_equal(smoothed[:, 2:], moving_average(moves[:, 2:], 3))
    np.testing.assert_array_equal(smoothed[:, :2], moving_average(moves[:, :2], 13))
