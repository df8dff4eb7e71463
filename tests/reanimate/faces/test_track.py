from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import face_points

from reanimate.faces.align import quad_from_landmarks
from reanimate.faces.detect import Face
from reanimate.faces.track import THOROUGH_EVERY, Follower, check_who, follow, make_track
from reanimate.types import UInt8


def face(x: float, y: float = 50.0, size: float = 20.0) -> Face:
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Face(box, 1.0, face_points((x, y), size))


class FakeDetector:
    """Sees, in frame i, the faces of row i; counts how it was asked."""

    def __init__(self, rows: list[list[Face]]) -> None:
        self.rows, self.searches, self.glances = rows, list[tuple[int, bool]](), list[int]()

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Face]:
        self.searches.append((number(picture), thorough))
        return self.rows[number(picture)]

    def detect_near(self, picture: UInt8, last: Face) -> Face | None:
        self.glances.append(number(picture))
        near = [f for f in self.rows[number(picture)] if abs(f.box[0] - last.box[0]) < 15]
        return near[0] if near else None


def number(picture: UInt8) -> int:
    return int(picture[0, 0, 0])


def frame(i: int, shade: int | UInt8 = 100) -> UInt8:
    picture = np.full((72, 128, 3), 0, np.uint8)
    picture[:] = shade
    picture[0, 0] = i
    return picture


def walk(
    rows: list[list[Face]], shades: list[int] | None = None, who: str = "largest"
) -> tuple[list[float | None], list[bool], FakeDetector]:
    """Where the followed face is in each frame, where cuts are, and the detector that was asked."""
    detector = FakeDetector(rows)
    shades = shades or [100] * len(rows)
    found = list(follow((frame(i, shade) for i, shade in enumerate(shades)), detector, who))
    middles = [None if f is None else (f.box[0] + f.box[2]) / 2 for f, _ in found]
    return middles, [cut for _, cut in found], detector


def test_largest_face_is_the_one_followed() -> None:
    assert walk([[face(20, size=10), face(80, size=30), face(110, size=20)]])[0] == [80]


def test_follower_stays_with_its_face_when_a_larger_one_comes() -> None:
    rows = [[face(30)], [face(32)], [face(34), face(100, size=60)], [face(100, size=60), face(36)]]
    assert walk(rows)[0] == [30, 32, 34, 36]


def test_face_is_looked_for_where_it_was_before_everywhere() -> None:
    _, _, detector = walk([[face(30 + i)] for i in range(5)])
    assert detector.searches == [(0, True)]
    assert detector.glances == [1, 2, 3, 4]


def test_face_that_jumped_a_little_is_found_by_the_full_search() -> None:
    middles, _, detector = walk([[face(30)], [face(55), face(110, size=60)]])
    assert middles == [30, 55]
    assert [i for i, _ in detector.searches] == [0, 1]


def test_someone_far_away_is_not_the_face_that_left() -> None:
    assert walk([[face(20)], [face(110)], [face(110)]])[0] == [20, None, None]


def test_face_that_returns_is_followed_again() -> None:
    assert walk([[face(30)], [], [], [face(33)], [face(34)]])[0] == [30, None, None, 33, 34]


def test_no_face_is_none_in_every_frame() -> None:
    assert walk([[], [], []])[0] == [None, None, None]


def test_slow_search_is_only_now_and_then_while_there_is_no_face() -> None:
    count = 2 * THOROUGH_EVERY + 2
    _, _, detector = walk([[] for _ in range(count)])
    assert [i for i, thorough in detector.searches if thorough] == [0, THOROUGH_EVERY, 2 * THOROUGH_EVERY]
    assert len(detector.searches) == count and not detector.glances


def test_first_frame_starts_a_shot_and_the_next_does_not() -> None:
    assert walk([[], [], []])[1] == [True, False, False]


def test_hard_cut_is_noticed() -> None:
    assert walk([[]] * 6, [40, 40, 40, 200, 200, 200])[1] == [True, False, False, True, False, False]


def test_every_cut_of_a_quick_montage_is_noticed() -> None:
    assert walk([[]] * 4, [40, 200, 40, 200])[1] == [True] * 4


def test_slow_fade_is_not_a_cut() -> None:
    assert walk([[]] * 25, [10 * i for i in range(25)])[1] == [True] + [False] * 24


def test_pan_that_gathers_speed_is_not_a_cut() -> None:
    assert walk([[]] * 4, [60, 78, 108, 150])[1] == [True, False, False, False]


def test_moving_face_is_not_a_cut() -> None:
    pictures = []
    for i in range(20):
        picture = frame(i)
        picture[20:50, 5 * i : 5 * i + 30] = 220
        picture[0, 0] = i
        pictures.append(picture)
    assert [cut for _, cut in follow(pictures, FakeDetector([[]] * 20))] == [True] + [False] * 19


def test_new_shot_starts_anew_with_its_largest_face() -> None:
    rows = [[face(30)], [face(31)], [face(32), face(100, size=60)], [face(101, size=60), face(32)]]
    middles, cuts, detector = walk(rows, [40, 40, 200, 200])
    assert cuts == [True, False, True, False]
    assert middles == [30, 31, 100, 101]
    assert 2 not in detector.glances


def test_follower_takes_frames_one_by_one() -> None:
    follower = Follower(FakeDetector([[face(30)], [face(31)]]))
    assert follower.feed(frame(0))[1] is True
    found, cut = follower.feed(frame(1))
    assert found is not None and found.box == face(31).box and not cut


def test_track_keeps_time_and_marks_what_is_missing() -> None:
    track = make_track([(face(30), True), (None, False), (face(34), False)], Fraction(25))
    assert track.detected.tolist() == [True, False, True]
    assert track.cuts.tolist() == [True, False, False]
    assert track.landmarks.shape == (3, 68, 2) and track.landmarks.dtype == np.float32
    assert np.isnan(track.landmarks[1]).all() and np.array_equal(track.landmarks[2], face(34).landmarks)
    assert track.quads.shape == (3, 4, 2) and np.isfinite(track.quads).all()


def test_track_of_a_still_face_has_its_quad() -> None:
    track = make_track([(face(30), i == 0) for i in range(9)], Fraction(25))
    assert np.allclose(track.quads, quad_from_landmarks(face(30).landmarks), atol=1e-3)


def test_clip_without_any_face_has_no_track() -> None:
    with pytest.raises(ValueError, match="no frame"):
        make_track([(None, True), (None, False)], Fraction(25))


CROWD = [face(60, size=30), face(20, size=10), face(100, size=20)]


@pytest.mark.parametrize(
    ("who", "at"), [("largest", 60), ("left", 20), ("right", 100), ("1", 20), ("2", 60), ("3", 100), ("4", None)]
)
def test_face_that_was_asked_for_is_followed_to_the_end(who: str, at: float | None) -> None:
    assert walk([CROWD] * 4, who=who)[0] == [at] * 4


def test_a_number_waits_until_so_many_faces_are_there() -> None:
    assert walk([[CROWD[0]], [CROWD[0]], CROWD], who="3")[0] == [None, None, 100]


def test_who_is_one_of_three_words_or_a_number_from_one() -> None:
    assert all(map(check_who, ["largest", "left", "right", "1", "12"]))
    assert not any(map(check_who, ["", "0", "-1", "1.5", "middle", "1000", "²"]))
    with pytest.raises(ValueError, match="names no face"):
        Follower(FakeDetector([]), "middle")


def test_neighbour_is_never_taken_for_a_face_that_is_lost_for_a_moment() -> None:
    pair = [face(30), face(56)]
    assert walk([pair, pair, [face(54)], [face(52)], pair], who="left")[0] == [30, 30, None, None, 30]


def test_face_of_another_size_is_someone_else() -> None:
    assert walk([[face(30)], [], [face(34, size=60)]])[0] == [30, None, None]


def test_follower_knows_how_many_faces_there_were() -> None:
    follower = Follower(FakeDetector([CROWD]))
    follower.feed(frame(0))
    assert follower.most_faces == 3
