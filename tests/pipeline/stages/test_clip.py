"""A still is a clip of one frame, and frame numbers are said in few words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.stages.clip import open_clip, spans
from reanimate.errors import MediaError
from reanimate.images import read_image


def test_still_is_a_clip_of_one_frame(face_picture: Path) -> None:
    info, frames = open_clip(face_picture)
    shown = list(frames)
    assert (info.num_frames, info.has_audio) == (1, False)
    assert (info.height, info.width) == shown[0].shape[:2]
    np.testing.assert_array_equal(shown[0], read_image(face_picture))


def test_video_is_opened_with_all_its_frames(source: Path) -> None:
    info, frames = open_clip(source)
    assert sum(1 for _ in frames) == info.num_frames == 10


def test_neither_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader")
    with pytest.raises(MediaError):
        open_clip(tmp_path / "letter.txt")


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([], ""),
        ([3], "3"),
        ([3, 8, 9, 10, 40], "3, 8-10, 40"),
        ([0, 1], "0-1"),
        ([0, 2, 4, 6, 8, 10, 12], "0, 2, 4, 6, 8, 10, …"),
    ],
)
def test_frames_are_said_as_runs(indices: list[int], said: str) -> None:
    assert spans(indices) == said
