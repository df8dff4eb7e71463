"""Layers of one face on another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done, mescheder_file

from reanimate.images import SYNTHETIC, read_image

Call = Callable[..., Done]


@pytest.fixture
def model(tiny_bundle: Path) -> list[object]:
    return ["--model", tiny_bundle, "--steps", 3]


def test_no_layers_but_all_are_the_other(
    call: Call, face_picture: Path, second_target: Path, model: list[object]
) -> None:
    call("mix", face_picture, second_target, "--layers", "0-5", "-o", "all.png", *model)
    call("invert", face_picture, second_target, "-o", "codes", *model)
    np.testing.assert_array_equal(read_image("all.png"), read_image(f"codes/{second_target.stem}.recon.png"))
    call("mix", face_picture, second_target, "--layers", "0-1", "-o", "some.png", *model)
    assert (read_image("some.png") != read_image("all.png")).any()
    assert SYNTHETIC.encode() in Path("some.png").read_bytes()


def test_sheet_goes_from_each_to_the_other(
    call: Call, face_picture: Path, second_target: Path, model: list[object]
) -> None:
    done = call("mix", face_picture, second_target, "-o", "mixed.png", "--sheet", "sheet.png", *model)
    assert done.out == "mixed.png\nsheet.png\n"
    cell, columns = 16 + 2, 1 + 7 + 1  # a crop, no layer to all six, the other crop
    made = read_image("sheet.png")
    assert made.shape == (2 * cell - 2, columns * cell - 2, 3)

    def at(row: int, column: int) -> np.ndarray:
        return made[row * cell : row * cell + 16, column * cell : column * cell + 16]

    np.testing.assert_array_equal(at(0, 1), at(1, 7), "nothing exchanged is all exchanged of the other")
    np.testing.assert_array_equal(at(0, 7), at(1, 1))
    np.testing.assert_array_equal(at(0, 5), read_image("mixed.png"), "0-3 is four layers")
    np.testing.assert_array_equal(at(0, 0), at(1, 8))


@pytest.mark.parametrize(("layers", "complaint"), [("0-6", "0 to 5"), ("x", "not a list of layers")])
def test_bad_layers_are_one_line(
    call: Call, face_picture: Path, second_target: Path, model: list[object], layers: str, complaint: str
) -> None:
    error = call("mix", face_picture, second_target, "--layers", layers, "-o", "mixed.png", *model, code=1).error
    assert complaint in error


def test_model_without_layers_is_one_line(call: Call, face_picture: Path, second_target: Path, tmp_path: Path) -> None:
    mescheder_file(tmp_path / "flat.pt")
    error = call("mix", face_picture, second_target, "-o", "mixed.png", "--model", "flat.pt", code=1).error
    assert "flat has no layers that could be exchanged" in error
