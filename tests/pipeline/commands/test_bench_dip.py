"""Deep Image Prior against its paper's own behaviour."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conftest import Done

from reanimate.images import read_image, write_image

Call = Callable[..., Done]


def test_four_curves_are_drawn_and_told(call: Call, face_picture: Path) -> None:
    done = call("bench", "dip", face_picture, "-o", "curves.png", "--side", 32, "--steps", 12, "--json")
    found = json.loads(done.out)
    assert [row["fitted_to"] for row in found["rows"]] == list(found["curves"])
    assert [len(curve) for curve in found["curves"].values()] == [12] * 4
    left = {row["fitted_to"]: row["left"] for row in found["rows"]}
    assert left["the picture"] < left["noise"]
    assert read_image("curves.png").shape[2] == 3
    out = call("bench", "dip", face_picture, "-o", "curves.png", "--side", 32, "--steps", 2).out
    assert "| the picture, px shuffled |" in out


def test_picture_that_is_too_small_is_one_line(call: Call, tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", np.zeros((40, 40, 3), np.uint8))
    assert "small.png: is smaller than 64x64 px" in call("bench", "dip", "small.png", "-o", "x.png", code=1).error
