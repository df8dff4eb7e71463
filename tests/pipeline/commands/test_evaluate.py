"""`reanimate evaluate`: a table for people, JSON for scripts, curves as a picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done, write_clip

from reanimate.images import read_image
from reanimate.video import probe

Call = Callable[..., Done]


@pytest.fixture
def result(call: Call, source: Path, face_frames: np.ndarray, tmp_path: Path) -> Path:
    """Squares that show the source's face and its movement."""
    side = min(face_frames.shape[1:3])
    squares = np.ascontiguousarray(face_frames[:, :side, :side])
    return write_clip(tmp_path / "result.mp4", squares, probe(source).frame_rate)


def test_table_picture_and_json(call: Call, result: Path, source: Path, face_picture: Path, tmp_path: Path) -> None:
    command = ("evaluate", result, "--source", source, "--target", face_picture, "--resolution", 64)
    told = call(*command, "-o", "curves.png")
    assert "| yaw |" in told.out and "10 frames at 30000/1001 a second" in told.out
    assert told.out.splitlines()[-1] == "curves.png"
    assert read_image(tmp_path / "curves.png").shape[2] == 3
    again = call(*command, "--json", "-o", "curves.png")
    report = json.loads(again.out)
    assert report["ceiling_side"] == 64
    assert report["motion"]["mouth"]["correlation"] > 0.9
    assert "recognise" not in again.err, "what is known of the source is in the cache"


def test_needs_source_and_target(call: Call, result: Path, source: Path, face_picture: Path) -> None:
    assert "--target" in call("evaluate", result, "--source", source, code=2).err
    missing = call("evaluate", "nowhere.mp4", "--source", source, "--target", face_picture, code=1)
    assert missing.error == "error: nowhere.mp4: no such file or directory"
    still = call("evaluate", result, "--source", face_picture, "--target", face_picture, code=1)
    assert str(face_picture) in still.error


def test_picture_that_cannot_be_written_is_known_before_the_work(
    call: Call, result: Path, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    command = ("evaluate", result, "--source", source, "--target", face_picture, "-o", "nowhere/curves.png")
    assert "no such folder" in call(*command, code=1).error
    assert not (tmp_path / "cache").exists()


def test_damaged_result_is_one_line(call: Call, result: Path, source: Path, face_picture: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copy(result, tmp_path / "broken.mp4"))
    broken.write_bytes(b"no video")
    done = call("evaluate", broken, "--source", source, "--target", face_picture, code=1)
    assert "broken.mp4" in done.error


def test_exit_code_says_whether_requirements_are_met(
    call: Call, result: Path, source: Path, face_picture: Path
) -> None:
    command = ("evaluate", result, "--source", source, "--target", face_picture, "--resolution", 64)
    assert "| mouth |" in call(*command, "--require", "mouth>=0.9", "--require", "jitter<=1.5").out
    done = call(*command, "--require", "mouth>=0.9", "--require", "distance<=0.01", code=1)
    assert "| mouth |" in done.out, "the table is there all the same"
    assert "1 of 2 requirements not met: distance is" in done.error


def test_requirement_that_is_none_is_known_before_the_work(
    call: Call, result: Path, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    command = ("evaluate", result, "--source", source, "--target", face_picture, "--require", "mouth=1")
    assert "mouth=1" in call(*command, code=1).error
    assert not (tmp_path / "cache").exists()
