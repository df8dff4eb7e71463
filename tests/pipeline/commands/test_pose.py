"""A pose leaves its performer behind, and moves anyone as `run` would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from reanimate.images import read_image
from reanimate.video import probe

Call = Callable[..., Done]


@pytest.fixture
def exported(call: Call, finished: Path, source: Path, quick: list[object], tmp_path: Path) -> Path:
    done = call("pose", "export", source, *quick, "-o", "pose.npz")
    assert done.out == "pose.npz\n"
    assert " of " not in done.err, "a run has done all of it already"
    return tmp_path / "pose.npz"


def test_exported_pose_holds_motion_and_not_the_mean_identity(exported: Path) -> None:
    with np.load(exported, allow_pickle=False) as data:
        assert set(data.files) == {"deltas", "attributes", "head", "moves", "cuts", "header"}
        assert np.isfinite(data["attributes"]).all() and data["head"].shape == (10, 4)
        deltas, header = data["deltas"], json.loads(str(data["header"]))
    assert deltas.shape == (10, 6, 8)
    assert header["frame_rate"] == "30000/1001"
    # smoothing narrows at the ends, so that the mean need not stay exactly zero
    assert np.abs(deltas.mean(0)).max() < 0.5 * np.abs(deltas).max()


def test_unsmoothed_pose_has_a_mean_of_zero_and_unit_size(
    call: Call, finished: Path, source: Path, quick: list[object], tmp_path: Path
) -> None:
    call("pose", "export", source, *quick, "--smooth", 0, "-o", "pose.npz")
    with np.load(tmp_path / "pose.npz") as data:
        deltas = data["deltas"].astype(np.float64)
    assert np.abs(deltas.mean(0)).max() < 1e-5
    assert np.sqrt(np.square(deltas).mean()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_apply_makes_the_frames_that_run_makes(
    call: Call, exported: Path, finished: Path, source: Path, face_picture: Path, quick: list[object], gain: float
) -> None:
    call("run", source, face_picture, *quick, "--gain", gain, "-o", "run.mp4")
    before = {path: path.read_bytes() for path in finished.glob("synthesize/*/frames.npy")}
    call("pose", "apply", exported, face_picture, *quick, "--gain", gain, "-o", "applied.mp4")
    (new,) = set(finished.glob("synthesize/*/frames.npy")) - set(before)
    assert new.read_bytes() in before.values()


def test_apply_to_three_targets_writes_three_silent_videos(
    call: Call, exported: Path, face_picture: Path, second_target: Path, source: Path, quick: list[object],
    tmp_path: Path,
) -> None:  # fmt: skip
    targets = (face_picture, second_target, source)
    done = call("pose", "apply", exported, *targets, *quick, "--head-motion", "all", "--out-dir", "new/moved")
    assert done.out.splitlines() == ["new/moved/target.mp4", "new/moved/second.mp4", "new/moved/source.mp4"]
    for name in done.out.splitlines():
        info = probe(tmp_path / name)
        assert (info.num_frames, str(info.frame_rate), info.has_audio) == (10, "30000/1001", False)
    assert len({(tmp_path / name).read_bytes() for name in done.out.splitlines()}) == 3


def test_bad_pose_is_found_before_any_target_is_inverted(
    call: Call, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    (tmp_path / "pose.npz").write_text("pose")
    call("pose", "apply", "pose.npz", face_picture, *quick, "-o", "out.mp4", code=1)
    assert not list((tmp_path / "cache").glob("track/*"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a.jpg"], "give -o for one target, or --out-dir for several"),
        (["a.jpg", "b.jpg", "-o", "out.mp4"], "give -o for one target"),
        (["a.jpg", "-o", "out.mp4", "--out-dir", "out"], "give -o for one target"),
        (["x/a.jpg", "y/a.jpg", "--out-dir", "out"], "two targets share a name"),
    ],
)
def test_unclear_outputs_are_wrong_usage(call: Call, words: list[str], complaint: str) -> None:
    assert complaint in call("pose", "apply", "pose.npz", *words, code=2).err


def test_show_draws_the_pose(call: Call, exported: Path, tmp_path: Path) -> None:
    done = call("pose", "show", exported, "-o", "drawn.png")
    assert "10 frames at 30000/1001 per second, 6 layers of 8" in done.out
    assert done.out.splitlines()[-1] == "drawn.png"
    assert min(read_image(tmp_path / "drawn.png").shape[:2]) > 300


def test_still_has_no_pose_to_export(call: Call, face_picture: Path, quick: list[object]) -> None:
    assert "still picture" in call("pose", "export", face_picture, *quick, "-o", "pose.npz", code=1).error


def test_export_refuses_an_unwritable_file_before_any_work(
    call: Call, source: Path, quick: list[object], tmp_path: Path
) -> None:
    assert "no such folder" in call("pose", "export", source, *quick, "-o", "nowhere/pose.npz", code=1).error
    assert not (tmp_path / "cache").exists()
