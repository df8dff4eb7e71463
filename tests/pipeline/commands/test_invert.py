"""Pictures to codes: each on its own, none the worse for another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from reanimate.images import SYNTHETIC, read_image, write_image

Call = Callable[..., Done]


@pytest.fixture
def steps(tiny_bundle: Path) -> list[object]:
    return ["--model", tiny_bundle, "--steps", 5, "-o", "codes"]


def test_code_crop_and_reconstruction_are_written(
    call: Call, face_picture: Path, steps: list[object], tmp_path: Path
) -> None:
    done = call("invert", face_picture, *steps)
    assert sorted(path.name for path in (tmp_path / "codes").iterdir()) == [
        "target.crop.png", "target.npz", "target.recon.png"
    ]  # fmt: skip
    with np.load(tmp_path / "codes" / "target.npz", allow_pickle=False) as data:
        assert data["ws"].shape == (6, 8)
        assert data["ws"].dtype == np.float32
        loss = float(data["loss"])
    assert done.out == f"codes/target.npz  loss {loss:.4f} after 5 passes\n"
    for name in ("crop", "recon"):
        assert read_image(tmp_path / "codes" / f"target.{name}.png").shape == (16, 16, 3)
    assert SYNTHETIC.encode() in (tmp_path / "codes" / "target.recon.png").read_bytes()
    assert SYNTHETIC.encode() not in (tmp_path / "codes" / "target.crop.png").read_bytes(), "that is the photograph"


def test_bad_picture_does_not_stop_the_others(
    call: Call, face_picture: Path, second_target: Path, steps: list[object], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    done = call("invert", face_picture, "bad.jpg", "noise.png", second_target, *steps, code=1)
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "bad.jpg: not a picture" in errors[0]
    assert "noise.png: no human face found" in errors[1]
    assert errors[2] == "error: 2 of 4 pictures could not be inverted"
    assert sorted(path.stem for path in (tmp_path / "codes").glob("*.npz")) == ["second", "target"]


def test_single_bad_picture_is_one_line(call: Call, steps: list[object], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    assert "bad.jpg: not a picture" in call("invert", "bad.jpg", *steps, code=1).error


def test_crop_is_taken_as_it_is_with_no_align(call: Call, steps: list[object], tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    write_image(tmp_path / "crop.png", crop)
    call("invert", "crop.png", "--no-align", *steps)
    np.testing.assert_array_equal(read_image(tmp_path / "codes" / "crop.crop.png"), crop)


def test_crop_must_be_square(call: Call, steps: list[object], tmp_path: Path) -> None:
    write_image(tmp_path / "wide.png", np.zeros((16, 32, 3), np.uint8))
    assert "is 32x16 px; a crop must be square" in call("invert", "wide.png", "--no-align", *steps, code=1).error


@pytest.mark.parametrize("space", ["z", "w", "w+"])
@pytest.mark.parametrize("init", ["zeros", "mean", "encoder"])
def test_every_space_and_start(
    call: Call, face_picture: Path, steps: list[object], tmp_path: Path, space: str, init: str
) -> None:
    call("invert", face_picture, *steps, "--space", space, "--init", init, "--norm", 2, "--lr", 0.1)
    with np.load(tmp_path / "codes" / "target.npz") as data:
        ws = data["ws"]
    assert ws.shape == (6, 8)
    assert np.isfinite(ws).all()
    assert (np.ptp(ws, axis=0).max() > 0) == (space == "w+")


def test_no_steps_is_the_start_itself(call: Call, face_picture: Path, tiny_bundle: Path) -> None:
    done = call("invert", face_picture, "--model", tiny_bundle, "--steps", 0, "-o", "codes")
    assert "after 0 passes" in done.out


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (["--norm", 3], "3 is not 1 or 2"),
        (["--steps", -1], "must not be negative"),
        (["--lr", 0], "must be positive"),
        (["--lr", "nan"], "finite"),
        (["--space", "s"], "'s' is not one of"),
    ],
)
def test_bad_value_is_one_line(
    call: Call, face_picture: Path, steps: list[object], option: list[object], complaint: str
) -> None:
    assert complaint in call("invert", face_picture, *steps, *option, code=1).error


def test_names_that_collide_are_wrong_usage(
    call: Call, face_picture: Path, steps: list[object], tmp_path: Path
) -> None:
    copy = shutil.copy(face_picture, tmp_path / "target.png")
    assert "two pictures share a name" in call("invert", face_picture, copy, *steps, code=2).err


def test_output_that_is_a_file_is_one_line(call: Call, face_picture: Path, steps: list[object], tmp_path: Path) -> None:
    (tmp_path / "codes").write_text("")
    assert "codes: cannot write (file exists)" in call("invert", face_picture, *steps, code=1).error
