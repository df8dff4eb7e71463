from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from reanimate.motion import (
    SCALE_FLOOR,
    apply,
    decompose,
    interpolate_missing,
    moving_average,
    smooth,
    window_frames,
)
from reanimate.types import Identity, Latents, PoseDeltas

RATE = Fraction(30000, 1001)


def clip(num_frames: int = 12, seed: int = 0, size: float = 1.0) -> Latents:
    rng = np.random.default_rng(seed)
    ws = rng.normal(3, size, (num_frames, 6, 8)).astype(np.float32)
    return Latents(ws, np.zeros(num_frames, np.float32), RATE)


def of(ws: np.ndarray) -> Latents:
    return Latents(ws.astype(np.float32), np.zeros(len(ws), np.float32), RATE)


def test_own_identity_moved_by_own_pose_is_the_clip() -> None:
    latents = clip()
    identity, deltas = decompose(latents)
    assert np.abs(apply(identity, deltas) - latents.ws).max() < 1e-5


def test_identity_is_the_mean_code() -> None:
    latents = clip()
    assert np.allclose(decompose(latents)[0].ws, latents.ws.mean(0), atol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_deltas_have_unit_rms_and_scale_is_the_clips_own(size: float) -> None:
    latents = clip(size=size)
    _, deltas = decompose(latents)
    offsets = latents.ws.astype(np.float64) - latents.ws.mean(0, dtype=np.float64)
    assert np.sqrt(np.square(deltas.deltas).mean()) == pytest.approx(1, abs=1e-5)
    assert deltas.scale == pytest.approx(np.sqrt(np.square(offsets).mean()), rel=1e-6)


def test_deltas_average_to_nothing() -> None:
    assert np.abs(decompose(clip())[1].deltas.mean(0)).max() < 1e-6


def test_dead_layer_stays_dead() -> None:
    latents = clip()
    latents.ws[:, 2] = 7.3
    assert np.abs(decompose(latents)[1].deltas[:, 2]).max() < 1e-6


def test_one_scale_holds_for_all_layers() -> None:
    latents = clip()
    latents.ws[:, 0] *= 10
    deltas = decompose(latents)[1].deltas
    assert deltas[:, 0].std() > 5 * deltas[:, 1:].std()


def test_still_clip_has_no_motion() -> None:
    still = of(np.repeat(np.random.default_rng(0).normal(0, 30, (1, 6, 8)), 1001, 0))
    _, deltas = decompose(still)
    assert not deltas.deltas.any()


def test_nearly_still_clip_is_not_blown_up() -> None:
    latents = clip(size=SCALE_FLOOR / 10)
    _, deltas = decompose(latents)
    assert np.abs(deltas.deltas * deltas.scale).max() < SCALE_FLOOR
    assert np.abs(deltas.deltas).max() < SCALE_FLOOR


def test_reversed_clip_gives_reversed_motion() -> None:
    latents = clip()
    forward, backward = decompose(latents)[1], decompose(of(latents.ws[::-1]))[1]
    assert np.allclose(backward.deltas, forward.deltas[::-1], atol=1e-6)


def test_clip_played_twice_gives_its_motion_twice() -> None:
    latents = clip()
    identity, deltas = decompose(latents)
    twice_identity, twice = decompose(of(np.concatenate([latents.ws, latents.ws])))
    assert np.allclose(twice.deltas, np.concatenate([deltas.deltas, deltas.deltas]), atol=1e-5)
    assert np.allclose(twice_identity.ws, identity.ws, atol=1e-6)
    assert twice.scale == pytest.approx(deltas.scale, rel=1e-6)


def test_another_performer_with_the_same_motion_gives_the_same_deltas() -> None:
    latents = clip()
    other = of(latents.ws + np.float32(2))
    assert np.allclose(decompose(other)[1].deltas, decompose(latents)[1].deltas, atol=1e-5)


def test_frame_rate_and_model_are_carried() -> None:
    _, deltas = decompose(clip(), "digest")
    assert (deltas.frame_rate, deltas.model) == (RATE, "digest")
    smoothed = smooth(deltas, 0.2)
    assert (smoothed.frame_rate, smoothed.model, smoothed.scale) == (RATE, "digest", deltas.scale)


@pytest.mark.parametrize("frames", [0, 1])
def test_fewer_than_two_frames_are_refused(frames: int) -> None:
    with pytest.raises(ValueError, match="two frames"):
        decompose(clip(frames))


def test_gain_zero_is_the_identity_in_every_frame() -> None:
    _, deltas = decompose(clip())
    identity = Identity(np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32))
    assert np.array_equal(apply(identity, deltas, gain=0), np.repeat(identity.ws[None], 12, 0))


def test_gain_multiplies_the_motion() -> None:
    identity, deltas = decompose(clip())
    once, twice = apply(identity, deltas) - identity.ws, apply(identity, deltas, gain=2) - identity.ws
    assert np.allclose(twice, 2 * once, atol=1e-5)


def test_given_scale_replaces_the_clips_own() -> None:
    identity, deltas = decompose(clip(size=0.01))
    moved = apply(identity, deltas, scale=0.5).astype(np.float64) - identity.ws
    assert np.sqrt(np.square(moved).mean()) == pytest.approx(0.5, rel=1e-4)


def test_only_the_named_layers_move() -> None:
    identity, deltas = decompose(clip())
    moved = apply(identity, deltas, layers=[1, 3]) - identity.ws
    assert not moved[:, [0, 2, 4, 5]].any()
    assert np.allclose(moved[:, [1, 3]], (apply(identity, deltas) - identity.ws)[:, [1, 3]])


def test_no_layers_is_no_motion() -> None:
    identity, deltas = decompose(clip())
    assert np.array_equal(apply(identity, deltas, layers=[]), np.repeat(identity.ws[None], 12, 0))


@pytest.mark.parametrize("shape", [(5, 8), (6, 7), (8, 6)])
def test_identity_of_another_model_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="different models"):
        apply(Identity(np.zeros(shape, np.float32)), decompose(clip())[1])


def test_applying_leaves_what_it_was_given() -> None:
    identity, deltas = decompose(clip())
    before = deltas.deltas.copy(), identity.ws.copy()
    apply(identity, deltas, 3.0, layers=[0])
    assert np.array_equal(before[0], deltas.deltas) and np.array_equal(before[1], identity.ws)


def test_missing_frames_lie_straight_between_their_neighbours() -> None:
    values = np.array([[0.0], [np.nan], [np.nan], [3.0], [5.0]], np.float32)
    filled = interpolate_missing(values, ~np.isnan(values[:, 0]))
    assert filled[:, 0].tolist() == pytest.approx([0, 1, 2, 3, 5])


def test_missing_ends_are_held() -> None:
    values = np.array([9, 9, 1, 2, 9], np.float32)
    assert interpolate_missing(values, np.array([False, False, True, True, False])).tolist() == [1, 1, 1, 2, 2]


def test_known_frames_are_kept_to_the_bit() -> None:
    values = clip().ws
    known = np.arange(12) % 3 != 1
    filled = interpolate_missing(values, known)
    assert filled.shape == values.shape and filled.dtype == np.float32
    assert np.array_equal(filled[known], values[known])
    assert np.allclose(filled[1], (values[0] + values[2]) / 2, atol=1e-6)


def test_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        interpolate_missing(clip().ws, np.zeros(12, bool))


@pytest.mark.parametrize("rate", [Fraction(5), Fraction(24), Fraction(25), RATE, Fraction(60), Fraction(120)])
def test_window_is_odd_and_at_least_three_and_nearest(rate: Fraction) -> None:
    for seconds in (0.001, 0.05, 0.12, 0.13, 0.5, 2.0):
        frames = window_frames(seconds, rate)
        assert frames % 2 == 1 and frames >= 3
        assert frames == 3 or abs(frames - seconds * float(rate)) <= 1 + 1e-9


def test_zero_seconds_is_no_smoothing() -> None:
    deltas = decompose(clip())[1]
    assert window_frames(0, RATE) == 1
    assert np.array_equal(smooth(deltas, 0).deltas, deltas.deltas)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 8, 40])
@pytest.mark.parametrize("window", [1, 3, 7, 21])
def test_ends_constants_and_straight_lines_stay_for_any_length(num_frames: int, window: int) -> None:
    values = clip(num_frames).ws
    averaged = moving_average(values, window)
    assert averaged.shape == values.shape and averaged.dtype == np.float32
    assert np.array_equal(averaged[[0, -1]], values[[0, -1]])
    constant = np.full((num_frames, 2), 0.1, np.float32)
    assert np.array_equal(moving_average(constant, window), constant)
    line = np.arange(num_frames, dtype=np.float32)[:, None] * np.float32([0.5, -3])
    assert np.allclose(moving_average(line, window), line, atol=1e-5)


def test_middle_of_a_window_is_its_plain_mean() -> None:
    values = clip(9).ws
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
    values = clip(20).ws
    cuts = np.isin(np.arange(20), [0, 8])
    alone = np.concatenate([moving_average(values[:8], 5), moving_average(values[8:], 5)])
    assert np.array_equal(moving_average(values, 5, cuts), alone)


def test_cut_in_the_first_frame_means_nothing() -> None:
    values = clip().ws
    for first in (False, True):
        cuts = np.zeros(12, bool)
        cuts[0] = first
        assert np.array_equal(moving_average(values, 3, cuts), moving_average(values, 3))


@pytest.mark.parametrize("window", [0, 2, 8])
def test_even_window_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        moving_average(clip().ws, window)


def test_smoothing_deltas_is_averaging_them() -> None:
    deltas = PoseDeltas(clip(30).ws, 2.0, Fraction(25))
    assert np.array_equal(smooth(deltas, 0.2).deltas, moving_average(deltas.deltas, 5))


def two_shots() -> tuple[Latents, np.ndarray]:
    """Two people standing still, three frames each, and where the second shot begins."""
    ws = np.repeat(np.stack([np.zeros((2, 3)), np.full((2, 3), 5.0)]), 3, axis=0).astype(np.float32)
    return Latents(ws, np.zeros(6, np.float32), Fraction(25)), np.arange(6) == 3


def test_a_cut_to_someone_else_is_no_movement() -> None:
    latents, cuts = two_shots()
    _, deltas = decompose(latents, cuts=cuts)
    assert np.abs(deltas.deltas * deltas.scale).max() < 1e-6
    _, without = decompose(latents)
    assert np.abs(without.deltas * without.scale).max() > 1


def test_a_shot_without_a_face_does_not_move() -> None:
    latents, cuts = two_shots()
    latents.ws[3:] += np.linspace(0, 1, 3, dtype=np.float32)[:, None, None]
    latents.loss[3:] = np.nan
    identity, deltas = decompose(latents, cuts=cuts)
    assert not deltas.deltas[3:].any()
    assert not identity.ws.any()


def test_missing_frames_take_no_code_from_another_shot() -> None:
    values = np.array([1, 1, 0, 0, 9, 9], np.float32)[:, None]
    known = np.array([True, True, False, False, True, True])
    filled = interpolate_missing(values, known, np.arange(6) == 3)
    np.testing.assert_array_equal(filled[:, 0], [1, 1, 1, 9, 9, 9])
