"""The paper's tables: every row, the same pictures for all, nothing done twice, and intervals that mean something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Done, mescheder_file, squeezenet_file

from pipeline.commands import tables
from pipeline.commands.tables import Damage, Row, estimate, open_exhibits
from pipeline.stage import SilentReporter
from reanimate.images import read_image, resize, write_image
from reanimate.restore.priors import Plain

Call = Callable[..., Done]


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "crops").mkdir()
    for name in ("c", "a", "b"):
        picture = resize(rng.integers(0, 256, (4, 4, 3), np.uint8), 16, 16)
        write_image(tmp_path / "crops" / f"{name}.png", picture)
    return tmp_path / "crops"


@pytest.fixture
def command(crops: Path, tiny_bundle: Path, tmp_path: Path) -> list[object]:
    features = squeezenet_file(tmp_path / "squeezenet.npz")
    options = ["--model", tiny_bundle, "--steps", 2, "--dip-steps", 1, "--factor", 4, "--features", features]
    return ["bench", "tables", "--images", crops, "--no-align", "-o", "made", *options]


def test_every_row_is_measured_or_says_why_not(call: Call, command: list[object], tmp_path: Path) -> None:
    mescheder_file(tmp_path / "residual.pt")
    found = json.loads(call(*command, "--prior", "mescheder=residual.pt", "--json").out)
    assert (found["pictures"], found["side"], found["hole"], found["factor"]) == (3, 16, 4, 4)
    assert "not LPIPS" in found["distance"]
    named = [(row["table"], row["row"], "absent" in row) for row in found["rows"]]
    assert named == [
        (1, "tiny", False), (1, "mescheder", False), (1, "pggan", True),
        (2, "w+", False), (2, "w", False), (2, "noise", True),
        (3, "tiny", False), (3, "mescheder", False), (3, "pggan", True),
        (3, "Deep Image Prior, 1 passes", False), (3, "smooth fill (not in the paper)", False),
        (4, "tiny", False), (4, "mescheder", False), (4, "pggan", True),
        (4, "Deep Image Prior, 1 passes", False), (4, "bicubic (not in the paper)", False),
    ]  # fmt: skip
    published = {row["row"]: row["published"] for row in found["rows"] if row["table"] == 2}
    assert published == {"w+": 0.345, "w": 0.398, "noise": 0.842}
    for row in found["rows"]:
        if "absent" in row:
            continue
        for name in ("distance", "further", *["put_back"] * (row["table"] == 3)):
            assert row[name]["low"] <= row[name]["mean"] <= row[name]["high"]
    assert [row["further"]["mean"] for row in found["rows"] if row["row"] == "tiny"] == [0, 0, 0]
    assert all(Path(path).is_file() for path in found["sheets"])


def test_printed_tables_hold_the_published_beside_the_measured(call: Call, command: list[object]) -> None:
    out = call(*command).out
    assert "**Table 2: reconstruction, by space**" in out
    line = next(line for line in out.splitlines() if line.startswith("| w+ |"))
    assert line.split("|")[2].strip() == "0.345"
    assert "no weights; pass --prior pggan=MODEL" in out
    assert "distance: SqueezeNet's features" in out


def test_what_is_drawn_is_not_drawn_again(
    call: Call, command: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[str] = []
    draw = tables.draw

    def counting(row: Row, exhibit: tables.Exhibit, *rest: object) -> object:
        drawn.append(f"{row.name} {exhibit.name}")
        if len(drawn) == 7:
            raise KeyboardInterrupt
        return draw(row, exhibit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "draw", counting)
    call(*command, code=130)
    assert len(list((tmp_path / "made").glob("*.png"))) == 6
    drawn.clear()
    monkeypatch.setattr(tables, "draw", draw)
    done = call(*command)
    assert "going on from" in done.err
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "made").glob("????????*.png")}
    assert call(*command).out == done.out
    monkeypatch.setattr(tables, "draw", counting)
    call(*command)
    assert drawn == []
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "made").glob("????????*.png")}


def test_another_setting_draws_anew(call: Call, command: list[object], tmp_path: Path) -> None:
    call(*command)
    first = {path.name for path in (tmp_path / "made").glob("????????*.png")}
    call(*command, "--lr", 0.1)
    assert {path.name for path in (tmp_path / "made").glob("????????*.png")} > first


def test_pictures_are_taken_in_name_order(crops: Path) -> None:
    damage, paths = Damage(4, 4, "nearest"), sorted(crops.iterdir())
    found = open_exhibits(crops, paths, 2, 16, damage, align=False, reporter=SilentReporter())
    assert [exhibit.name for exhibit in found] == ["a.png", "b.png"]
    again = open_exhibits(crops, paths[1:], 2, 16, damage, align=False, reporter=SilentReporter())
    assert torch.equal(found[1].hole, again[0].hole), "a picture's hole is its own, whichever come before it"
    assert not torch.equal(found[0].hole, found[1].hole)


def test_priors_are_not_shown_what_is_to_be_drawn(crops: Path) -> None:
    """The truth in the hole, and between the samples, is exchanged: nothing that is drawn changes."""
    damage = Damage(4, 4, "nearest")
    exhibit = open_exhibits(crops, sorted(crops.iterdir()), 1, 16, damage, align=False, reporter=SilentReporter())[0]
    hole = exhibit.hole[0, 0].numpy()
    other = exhibit.truth.copy()
    other[hole] = 255 - other[hole]
    row = Row(3, "plain", "inpaint", Plain(), {})
    drawn = [tables.draw(row, tables.Exhibit("a", x, exhibit.hole), damage, "cpu") for x in (exhibit.truth, other)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    between = exhibit.truth.copy()
    between[1::4] = 0
    row = Row(4, "plain", "upscale", Plain(), {})
    drawn = [tables.draw(row, tables.Exhibit("a", x, exhibit.hole), damage, "cpu") for x in (exhibit.truth, between)]
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_interval_holds_the_mean_in_about_95_of_100_experiments() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        found = estimate(rng.normal(1, 2, 40).astype(np.float32))
        held += found.low < 1 < found.high
    assert 180 <= held <= 198


def test_without_lpips_weights_the_cure_is_named(
    call: Call, command: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reanimate.errors import WeightsUnavailable

    def refuse(*_: object) -> float:
        raise WeightsUnavailable("LPIPS with vgg", "somewhere", "offline")

    monkeypatch.setattr(tables, "lpips_distance", refuse)
    at = command.index("--features")
    error = call(*command[:at], *command[at + 2 :], code=1).error
    assert "LPIPS with vgg: weights are not on this machine" in error
    assert "pass --features" in error


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--factor", 3], "3 does not divide the model's 16 px"),
        (["--prior", "pggan"], "is not NAME=MODEL"),
        (["--prior", "pggan=nowhere"], "not found"),
        (["--prior", "pggan=faces"], "pggan draws 128 px and the model 16; compare models of one size"),
        (["--images", "nowhere"], "nowhere: no such folder"),
        (["--held-out", "--images", "empty"], "no pictures of held-out people"),
    ],
)
def test_bad_value_is_one_line(
    call: Call, command: list[object], tmp_path: Path, options: list[object], complaint: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert complaint in call(*command, *options, code=1).error


def test_sheet_shows_damage_each_row_and_the_truth(call: Call, command: list[object], crops: Path) -> None:
    call(*command)
    made, cell = read_image("made/table3.png"), 16 + 2
    assert made.shape == (3 * cell - 2, 5 * cell - 2, 3), "damaged, tiny, deep image prior, smooth fill, truth"
    truth = read_image(crops / "a.png")
    np.testing.assert_array_equal(made[:16, 4 * cell :], truth)
    assert (made[:16, :16] != truth).any(2).sum() <= 16
