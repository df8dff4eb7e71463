from __future__ import annotations

import numpy as np
import pytest

from reanimate.inversion.segments import SHORTEST, Segment, batches, segments


def clip(length: int, missing: tuple[int, ...] = (), cuts: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    known, starts = np.ones(length, bool), np.zeros(length, bool)
    known[list(missing)] = False
    starts[[0, *cuts]] = True
    return known, starts


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_every_known_frame_is_in_one_segment_and_no_other_is(lanes: int) -> None:
    known, cuts = clip(200, missing=(0, 50, 51, 199), cuts=(70, 75))
    found = [frame for segment in segments(known, cuts, lanes) for frame in segment.frames]
    assert sorted(found) == np.flatnonzero(known).tolist()


def test_no_segment_reaches_over_a_cut() -> None:
    known, cuts = clip(200, cuts=(70, 75))
    shot = np.cumsum(cuts)
    assert all(len(set(shot[list(s.frames)])) == 1 for s in segments(known, cuts, 4))


def test_one_lane_means_one_segment_a_shot() -> None:
    assert [len(s.frames) for s in segments(*clip(200, cuts=(70,)), lanes=1)] == [70, 130]


def test_two_lanes_part_in_the_middle_and_four_in_two_places() -> None:
    assert [(s.frames[0], s.frames[-1]) for s in segments(*clip(48), lanes=2)] == [(23, 0), (24, 47)]
    assert [(s.frames[0], s.frames[-1]) for s in segments(*clip(48), lanes=4)] == [
        (11, 0),
        (12, 23),
        (35, 24),
        (36, 47),
    ]


def test_lanes_get_equal_shares_of_a_long_shot() -> None:
    lengths = [len(s.frames) for s in segments(*clip(802), lanes=8)]
    assert len(lengths) == 8 and max(lengths) - min(lengths) <= 1


def test_short_clip_is_not_all_key_frames() -> None:
    assert [len(s.frames) for s in segments(*clip(SHORTEST), lanes=8)] == [SHORTEST]


def test_segments_say_which_shot_they_are_of() -> None:
    assert [s.shot for s in segments(*clip(96, cuts=(48,)), lanes=4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_batches_solve_every_later_frame_once_after_the_frame_before_it(lanes: int, first: int) -> None:
    runs = [Segment(tuple(range(10 * i, 10 * i + n)), 0) for i, n in enumerate((4, 1, 7, 2, 3))]
    done = {(i, at) for i in range(len(runs)) for at in range(-1, first)}
    for batch in batches(runs, lanes, first):
        assert 0 < len(batch) <= lanes
        assert all((i, at - 1) in done and (i, at) not in done for i, at in batch)
        done |= set(batch)
    assert done == {(i, at) for i, run in enumerate(runs) for at in range(-1, len(run.frames))}


def test_clip_without_faces_has_no_segments() -> None:
    assert segments(np.zeros(5, bool), np.zeros(5, bool), 8) == []
    assert list(batches([], 8, 0)) == []
