"""A copy of the source agrees with it, a still does not, and nothing is measured that cannot be."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import write_clip

from pipeline.commands.evaluate import describe
from pipeline.evaluation import CURVES, evaluate
from pipeline.stage import SilentReporter
from pipeline.store import Store
from reanimate.errors import MediaError
from reanimate.faces.align import crop
from reanimate.faces.detect import DlibDetector
from reanimate.faces.track import follow, make_track

RATE = Fraction(30000, 1001)
SIDE = 128


@pytest.fixture(scope="session")
def crops(face_frames: np.ndarray) -> np.ndarray:
    """The source's own aligned crops [T, R, R, 3]."""
    track = make_track(list(follow(face_frames, DlibDetector())), RATE)
    return np.stack([crop(frame, quad, SIDE) for frame, quad in zip(face_frames, track.quads, strict=True)])


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("judged") / "cache")


@pytest.fixture(scope="session")
def judged(
    tmp_path_factory: pytest.TempPathFactory, crops: np.ndarray, source: Path, face_picture: Path, store: Store
) -> dict[str, dict[str, object]]:
    """Reports by result: a perfect copy of the source, one frame of it for ever, and a video without a face."""
    folder = tmp_path_factory.mktemp("results")
    made = {"copy": crops, "frozen": np.repeat(crops[:1], len(crops), 0), "blank": np.full_like(crops, 128)}
    reports = {}
    for name, pictures in made.items():
        video = write_clip(folder / f"{name}.mp4", pictures, RATE)
        reports[name] = evaluate(video, source, face_picture, store, SilentReporter(), SIDE).report
    return reports


def test_copy_of_the_source_reaches_the_ceiling(judged: dict[str, dict]) -> None:
    report = judged["copy"]
    assert report["frames"] == 10 and report["side"] == SIDE
    assert report["frames_without_face"] == {"source": 0, "result": 0}
    for name in ("mouth", "smile"):  # a video is not quite its crops: what hardly moves agrees less
        row = report["motion"][name]
        assert row["ceiling"] > 0.5
        assert row["correlation"] == pytest.approx(row["ceiling"], abs=0.15)
        assert row["amplitude"] == pytest.approx(row["amplitude_ceiling"], abs=0.25)
    assert report["motion"]["mouth"]["lag_frames"] == pytest.approx(0, abs=0.2)
    assert report["flicker"]["ratio"] == pytest.approx(1, abs=0.15)


def test_copy_of_the_source_is_nearer_the_source(judged: dict[str, dict]) -> None:
    identity = judged["copy"]["identity"]
    assert identity["share_nearer_target"] == 0
    assert identity["distance_to_source"] < 0.3 < identity["distance_to_target"]
    assert identity["distance_to_target"] <= identity["worst_distance_to_target"]


def test_frozen_result_follows_nothing(judged: dict[str, dict]) -> None:
    report = judged["frozen"]
    for name in ("mouth", "smile"):
        row = report["motion"][name]
        assert row["share_of_ceiling"] is None or row["share_of_ceiling"] < 0.5
        assert row["amplitude"] < 0.5
    assert report["flicker"]["ratio"] < 0.5


def test_result_without_a_face_is_all_missing_and_claims_nothing(judged: dict[str, dict]) -> None:
    report = judged["blank"]
    assert report["frames_without_face"]["result"] == 10
    assert report["missing"] == list(range(10))
    assert all(row["correlation"] is None and row["frames"] == 0 for row in report["motion"].values())
    assert report["identity"]["distance_to_target"] is None and report["identity"]["share_nearer_target"] is None


def test_every_report_is_json_and_readable(judged: dict[str, dict]) -> None:
    for report in judged.values():
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        table = [line for line in describe(report).splitlines() if line.startswith("|")]
        assert len(table) == 2 + len(CURVES)
        assert len({line.count("|") for line in table}) == 1
        assert "nan" not in describe(report)


def test_what_is_found_of_source_and_target_is_kept(judged: dict[str, dict], store: Store) -> None:
    made = {path.parent.parent.name: path.parent for path in store.root.glob("*/*/manifest.json")}
    assert {"track", "align", "look", "recognise"} == set(made)
    assert len(list(store.root.glob("look/*/manifest.json"))) == 1, "three results, one source"


@pytest.mark.parametrize(
    ("shape", "rate", "complaint"),
    [
        ((10, 64, 96), RATE, "96x64 px; a result of run is a square"),
        ((9, 64, 64), RATE, "has 9 frames at 30000/1001 a second"),
        ((10, 64, 64), Fraction(25), "10 frames at 25 a second"),
    ],
    ids=["oblong", "short", "slow"],
)
def test_result_of_something_else_is_one_line(
    shape: tuple[int, ...],
    rate: Fraction,
    complaint: str,
    source: Path,
    face_picture: Path,
    store: Store,
    tmp_path: Path,
) -> None:
    video = write_clip(tmp_path / "other.mp4", np.zeros((*shape, 3), np.uint8), rate)
    with pytest.raises(MediaError, match=complaint) as raised:
        evaluate(video, source, face_picture, store, SilentReporter(), SIDE)
    assert len(str(raised.value).splitlines()) == 1
