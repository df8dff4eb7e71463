"""Two people in a clip: numbered, chosen, and never mixed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, Done, write_clip

from pipeline.artefacts import load_track
from reanimate.faces.align import pose_from_quad
from reanimate.images import read_image, resize
from reanimate.types import shots
from reanimate.video import probe

Call = Callable[..., Done]


@pytest.fixture
def pair(face_frames: np.ndarray, tmp_path: Path) -> Path:
    """The example's person twice, smaller and played backwards on the right."""
    height, width = face_frames.shape[1:3]
    right = np.zeros_like(face_frames)
    for t, frame in enumerate(face_frames[::-1]):
        small = resize(frame, width * 3 // 4, height * 3 // 4)
        right[t, : len(small), : small.shape[1]] = small
    return write_clip(tmp_path / "pair.mp4", np.concatenate([face_frames, right], 2))


def test_faces_are_numbered_in_a_picture(call: Call, pair: Path, tmp_path: Path) -> None:
    done = call("faces", pair, "-o", "who.png")
    assert done.out == "2 faces in frame 0\nwho.png\n"
    drawn = read_image(tmp_path / "who.png").astype(int)
    yellow = (drawn[..., 0] > 200) & (drawn[..., 1] > 200) & (drawn[..., 2] < 100)
    half = drawn.shape[1] // 2
    assert yellow[:, :half].sum() > 50 and yellow[:, half:].sum() > 50


@pytest.mark.parametrize(("who", "side"), [(None, 0), ("left", 0), ("right", 1), ("2", 1)])
def test_the_person_asked_for_is_followed_in_every_frame(
    call: Call, pair: Path, face_picture: Path, quick: list[object], who: str | None, side: int, face_frames: np.ndarray
) -> None:
    choice = () if who is None else ("--face", who)
    done = call("run", pair, face_picture, *quick, *choice, "--until", "source/track")
    track, _ = load_track(Path(done.out.strip()))
    middles = pose_from_quad(track.quads)[0][:, 0] / face_frames.shape[2]
    assert track.detected.all()
    assert (middles.astype(int) == side).all()
    assert f"up to 2 faces at once, followed: {who or 'largest'}" in done.err
    assert "reanimate faces pair.mp4" in done.err


def test_more_faces_than_there_are_is_an_error_that_says_how_many(
    call: Call, pair: Path, face_picture: Path, quick: list[object]
) -> None:
    assert "2 at most are seen at once" in call("run", pair, face_picture, *quick, "--face", 3, code=1).error


@pytest.mark.parametrize("who", ["middle", "0", "-1"])
def test_who_must_be_a_word_or_a_number(call: Call, source: Path, face_picture: Path, who: str) -> None:
    assert "largest, left, right or a number from 1" in call("run", source, face_picture, "--face", who, code=1).error


def test_clip_without_a_face_has_none_to_number(call: Call, tmp_path: Path) -> None:
    write_clip(tmp_path / "blank.mp4", np.zeros((3, 64, 64, 3), np.uint8))
    assert "no face in 3 of 3 frames" in call("faces", "blank.mp4", code=1).error


CUTS = SHARED / "clips" / "cuts_and_missing_faces.mp4"


@pytest.mark.skipif(not CUTS.is_file(), reason="shared/clips is not here")
def test_no_frame_is_lost_and_nobody_mixed_up_where_shots_change_and_faces_go(
    call: Call, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    done = call("run", CUTS, face_picture, *quick, "-o", "out.mp4")
    assert probe(tmp_path / "out.mp4").num_frames == probe(CUTS).num_frames
    (folder,) = call("run", CUTS, face_picture, *quick, "--until", "source/track").out.split()
    track, _ = load_track(Path(folder))
    for shot in shots(track.cuts):
        points, seen = track.landmarks[shot], track.detected[shot]
        middle, width = points[seen].mean(1), np.ptp(points[seen][..., 0], axis=1)
        if len(middle) > 1:
            steps = np.linalg.norm(np.diff(middle, axis=0), axis=1)
            assert (steps < width[:-1]).all(), "within a shot, nobody jumps"
    cuts = [int(i) for i in np.flatnonzero(track.cuts) if i]
    assert f"scene cuts at frames {', '.join(map(str, cuts))};" in done.err
    missing = int((~track.detected).sum())
    assert f"no face in {missing} of {len(track.detected)} frames" in done.err
    assert "filled from their neighbours in the shot" in done.err
    assert "shots without any face and do not move" in done.err
