from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from reanimate.motion import (
    SCALE_FLOOR,
    apply,
    canonical_frame,
    decompose,
    interpolate_missing,
    layer_groups,
    reference,
)
from reanimate.smoothing import smooth
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


def test_frames_normalised_one_by_one_all_have_unit_rms_but_still_ones() -> None:
    latents = clip()
    latents.ws[3] = latents.ws.mean(0)
    latents.ws[3] = (latents.ws.sum(0) - latents.ws[3]) / 11  # now exactly the mean
    _, deltas = decompose(latents, normalisation="frame")
    sizes = np.sqrt(np.square(deltas.deltas.astype(np.float64)).mean((1, 2)))
    np.testing.assert_allclose(np.delete(sizes, 3), 1, atol=1e-5)
    assert sizes[3] < 1e-3
    assert deltas.normalisation == "frame"
    assert deltas.scale == pytest.approx(decompose(latents)[1].scale), "so that gain means the same"


def test_groups_are_every_layer_once_in_order() -> None:
    for num_ws in (1, 4, 6, 8, 10, 18):
        layers = [layer for group in layer_groups(num_ws) for layer in range(num_ws)[group]]
        assert layers == list(range(num_ws))
    assert layer_groups(10) == (slice(0, 4), slice(4, 8), slice(8, 10))


def test_gains_of_groups_multiply_the_gain() -> None:
    identity, deltas = decompose(clip())
    moved = apply(identity, deltas, 2.0, group_gains=(1.0, 0.5, 9.0)) - identity.ws
    plain = apply(identity, deltas) - identity.ws
    np.testing.assert_allclose(moved[:, :4], 2 * plain[:, :4], atol=1e-5)
    np.testing.assert_allclose(moved[:, 4:], plain[:, 4:], atol=1e-5)


def posed(attributes: np.ndarray, seed: int = 0) -> PoseDeltas:
    rng = np.random.default_rng(seed)
    deltas = rng.normal(size=(len(attributes), 6, 8)).astype(np.float32)
    return PoseDeltas(deltas, 1.0, RATE, attributes=attributes.astype(np.float32))


def test_relative_motion_leaves_the_target_alone_where_the_source_looks_like_it() -> None:
    yaws = np.zeros((9, 5))
    yaws[:, 0] = np.linspace(-80, 80, 9)
    deltas = posed(yaws)
    identity = Identity(np.zeros((6, 8), np.float32), np.array([40, 0, 0, 0, 0], np.float32))
    ws = apply(identity, deltas, away_from=np.tensordot(reference(deltas, identity), deltas.deltas, 1))
    assert np.abs(ws[6]).max() < 0.3 < np.abs(ws[4]).max(), "frame 6 has the target's yaw"
    far = Identity(identity.ws, np.array([120, 0, 0, 0, 0], np.float32))
    assert reference(deltas, far)[8] > 0.9, "the nearest there is"
    assert reference(deltas, far).sum() == pytest.approx(1)


def test_pose_that_nobody_knows_is_no_reference() -> None:
    deltas = posed(np.full((5, 5), np.nan))
    known = Identity(np.zeros((6, 8), np.float32), np.zeros(5, np.float32))
    assert not reference(deltas, known).any()
    assert not reference(posed(np.zeros((5, 5))), Identity(known.ws)).any()
    assert not reference(decompose(clip())[1], known).any()


def test_canonical_frame_has_open_eyes_and_a_closed_mouth_and_is_near_the_mean() -> None:
    latents = clip(40)
    attributes = np.zeros((40, 5), np.float32)
    attributes[:, 2] = np.where(np.arange(40) % 3 == 0, 0.0, 0.3)  # mouth
    attributes[:, 3] = np.where(np.arange(40) % 8 == 4, 0.1, 0.3)  # eyes
    latents.ws[[16, 18]] = latents.ws.mean(0)  # but the mouth of 16 is open
    assert canonical_frame(latents, attributes) == 18
    latents.loss[18] = np.nan  # never inverted
    assert canonical_frame(latents, attributes) in {i for i in range(0, 40, 3) if i % 8 != 4} - {18}


def test_canonical_frame_of_a_clip_without_landmarks_is_the_one_nearest_the_mean() -> None:
    latents = clip(20)
    latents.ws[7] = latents.ws.mean(0)
    assert canonical_frame(latents, np.full((20, 5), np.nan, np.float32)) == 7


def test_own_movements_are_added_in_their_own_units_and_times_the_gain() -> None:
    identity, deltas = decompose(clip())
    own = np.random.default_rng(0).normal(size=deltas.deltas.shape)
    moved = apply(identity, deltas, 2.0, scale=0.0, layers=(1, 3), own=own) - identity.ws
    np.testing.assert_allclose(moved[:, [1, 3]], 2 * own[:, [1, 3]], atol=1e-5)
    assert not moved[:, [0, 2, 4, 5]].any()
