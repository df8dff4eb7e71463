"""One clip, every way to invert it: rows that can be compared, and one that cannot be run says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from pipeline.commands import inversions
from reanimate.errors import WeightsUnavailable
from reanimate.images import read_image
from reanimate.inversion.invert import PRESETS

Call = Callable[..., Done]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few passes instead of a thousand, and people told apart by brightness instead of by a network."""
    monkeypatch.setattr(inversions, "PRESETS", {"paper": replace(PRESETS["paper"], first_steps=5, steps=5)})
    monkeypatch.setattr(inversions, "CURVE", (0, 2))
    monkeypatch.setattr(inversions, "DEEP", 5)
    make = inversions.make_loss

    def without_vgg16(name: str, *given: object, **named: object) -> object:
        if name == "vgg16":
            raise WeightsUnavailable("the VGG16 loss", "http://127.0.0.1/none", "offline")
        return make(name, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(inversions, "make_loss", without_vgg16)
    monkeypatch.setattr(inversions, "face_descriptor", lambda picture: np.full(128, picture.mean() / 255))


def test_every_way_is_measured_on_the_same_frames(
    call: Call, source: Path, quick: list[object], short: None, tmp_path: Path
) -> None:
    found = json.loads(call("bench", "invert", source, *quick, "--plot", "cost.png", "--json").out)
    rows = {name: row for name, row in found["rows"].items() if "absent" not in row}
    assert len(found["slow_frames"]) == 4 and "torch" in found["machine"]
    assert found["precision"] in ("float32", "bfloat16")
    assert {"paper: 1000 from zeros", "encoder alone", "previous frame, adam", "default"} <= set(rows)
    assert rows["paper: 1000 from zeros"]["frames"] == 4 and rows["paper: 1000 from zeros"]["passes"] == 5
    assert rows["encoder alone"]["passes"] == 0 < rows["default"]["passes"]
    assert rows["default"]["loss"] < rows["encoder alone"]["loss"]
    assert rows["default"]["frames"] == rows["encoder alone"]["frames"] > 4
    assert all(row["seconds"] >= 0 and row["loss_slow"] > 0 for row in rows.values())
    assert "flicker" in rows["default"] and "flicker" not in rows["paper: 1000 from zeros"]
    assert read_image(tmp_path / "cost.png").shape[2] == 3


def test_table_names_machine_clip_and_frames(call: Call, source: Path, quick: list[object], short: None) -> None:
    out = call("bench", "invert", source, *quick, "--slow-frames", 3).out
    assert "machine:" in out and source.name in out and "slow_frames: [" in out
    assert sum(line.startswith("| ") for line in out.splitlines()) > 10


def test_row_without_its_weights_says_so_and_the_others_stand(
    call: Call, source: Path, quick: list[object], short: None
) -> None:
    rows = json.loads(call("bench", "invert", source, *quick, "--json").out)["rows"]
    absent = [name for name, row in rows.items() if "absent" in row]
    assert absent == ["paper with VGG16: 1000 from zeros"]
    assert "offline" in rows[absent[0]]["absent"]


def test_chosen_rows_alone_are_measured_and_an_unknown_one_is_named(
    call: Call, source: Path, quick: list[object], short: None
) -> None:
    out = json.loads(
        call("bench", "invert", source, *quick, "--row", "default", "--row", "encoder alone", "--json").out
    )
    assert list(out["rows"]) == ["encoder alone", "default"]
    error = call("bench", "invert", source, *quick, "--row", "fastest", code=1).error
    assert "none is called 'fastest'" in error and "encoder alone" in error
