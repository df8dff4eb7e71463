"""Measurements say on what machine, and a failure in one row does not hide the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from reanimate.images import read_image
from reanimate.video import probe

Call = Callable[..., Done]


@pytest.fixture
def people(tmp_path: Path, face_picture: Path, second_target: Path) -> Path:
    for name, picture in (("ann", face_picture), ("bob", second_target)):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(picture, tmp_path / "people" / name / picture.name)
    return tmp_path / "people"


def test_reconstruct_measures_every_face(call: Call, people: Path, quick: list[object], tmp_path: Path) -> None:
    command = ("bench", "reconstruct", people, "--everyone", "--limit", 2, *quick)
    found = json.loads(call(*command, "--json", "--sheet", "sheet.png").out)
    assert "torch" in found["machine"]
    assert (found["model"], found["preset"], found["faces"]) == ("tiny", "fast", 2)
    assert found["crop"]["psnr_db"] == 99.0, "a crop is itself"
    assert {"same_person", "share", "mean_distance", "no_face_seen", "psnr_db"} == set(found["optimised"])
    assert set(found["encoder"]) == set(found["optimised"])
    assert read_image(tmp_path / "sheet.png").shape == (3 * 18 - 2, 2 * 18 - 2, 3)


def test_reconstruct_in_words(call: Call, people: Path, quick: list[object]) -> None:
    said = call("bench", "reconstruct", people, "--everyone", "--limit", 1, *quick).out
    assert said.startswith("machine: ")
    assert "faces: 1\n" in said


def test_reconstruct_says_what_it_lacks(call: Call, people: Path, quick: list[object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no such folder" in call("bench", "reconstruct", "nowhere", *quick, code=1).error
    assert "pass --everyone" in call("bench", "reconstruct", "empty", *quick, code=1).error
    assert "--limit" in call("bench", "reconstruct", people, "--limit", 0, *quick, code=1).error
    sheet = ("--everyone", "--sheet", "nowhere/sheet.png")
    assert "no such folder" in call("bench", "reconstruct", people, *sheet, *quick, code=1).error


@pytest.fixture
def clips(tmp_path: Path, source: Path) -> Path:
    (tmp_path / "clips").mkdir()
    shutil.copy(source, tmp_path / "clips" / "source.mp4")
    return tmp_path / "clips"


def test_clips_measures_whole_runs(
    call: Call,
    finished: Path,
    clips: Path,
    face_picture: Path,
    second_target: Path,
    quick: list[object],
    tmp_path: Path,
) -> None:
    found = json.loads(call("bench", "clips", clips, face_picture, second_target, "-o", "made", *quick, "--json").out)
    assert "torch" in found["machine"]
    assert [row["target"] for row in found["rows"]] == ["target.jpg", "second.png"]
    for row in found["rows"]:
        assert row["frames_in"] == row["frames_out"] == row["faces"] == 10
        assert row["rate_in"] == row["rate_out"] == "30000/1001"
        assert row["sound"] == "1 → 1"
        assert np.isfinite(row["loss"])
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "second_source.mp4", "second_source.png", "target_source.mp4", "target_source.png"
    ]  # fmt: skip
    assert probe(tmp_path / "made" / "target_source.mp4").num_frames == 10


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_failed_row_says_why_and_the_others_stand(
    call: Call, finished: Path, clips: Path, face_picture: Path, quick: list[object], as_json: bool
) -> None:
    (clips / "broken.mp4").write_text("no video")
    options = ["--json"] if as_json else []
    done = call("bench", "clips", clips, face_picture, "-o", "made", *quick, *options, code=1)
    assert done.error == "error: 1 of 2 runs failed"
    if as_json:
        broken, fine = json.loads(done.out)["rows"]
        assert "broken.mp4" in broken["error"]
        assert fine["frames_out"] == 10
    else:
        table = [line for line in done.out.splitlines() if line.startswith("|")]
        assert len(table) == 4
        assert len({line.count("|") for line in table}) == 1
        assert "broken.mp4" in table[2]


def test_clips_says_what_it_lacks(call: Call, clips: Path, face_picture: Path, quick: list[object]) -> None:
    assert "no videos in this folder" in call("bench", "clips", "nowhere", face_picture, "-o", "made", code=1).error
    (clips.parent / "made").write_text("")
    assert "cannot write" in call("bench", "clips", clips, face_picture, "-o", "made", *quick, code=1).error
