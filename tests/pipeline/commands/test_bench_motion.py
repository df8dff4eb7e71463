"""The page on motion: made by one command, from the cache the second time, and of the model that is embedded."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, ROOT, Done, stages

from pipeline.graph import open_model
from pipeline.motion_page import judge
from pipeline.motion_sweeps import filtering, modulate
from reanimate.faces.light import brightness
from reanimate.types import PoseDeltas
from reanimate.video import frames, probe

Call = Callable[..., Done]


@pytest.mark.slow
def test_page_is_made_with_its_plots_and_again_from_the_cache(
    call: Call, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    command = ("bench", "motion", source.parent, face_picture, "--clip", source.stem, "--frames", 5, *QUICK)
    command += ("--light-frames", 4)
    done = call(*command, "--page", "motion.md")
    assert done.out == "motion.md\n"
    text = (tmp_path / "motion.md").read_text()
    assert open_model("faces").card.digest[:12] in text
    assert " ".join([*QUICK, "--page motion.md"]) in text, "the command is the one that was run"
    for name in ("motion_gain.svg", "motion_filters.svg"):
        assert f"({name})" in text and "<svg" in (tmp_path / name).read_text()
    assert text.count("\n| clip | ") == 6 and "| modulated | even | yes |" in text
    before = stages(tmp_path / "cache")
    report = json.loads(call(*command, "--json").out)
    assert stages(tmp_path / "cache") == before, "nothing is measured twice"
    assert len(report["gains"]) == 18 and len(report["pairs"]) == 1


def test_page_is_of_the_embedded_model() -> None:
    text = (ROOT / "docs" / "motion.md").read_text()
    made_again = "reanimate bench motion CLIPS_DIR TARGET… --page docs/motion.md"
    assert open_model("faces").card.digest[:12] in text, f"the model has changed; make the page again: {made_again}"


def test_missing_clip_is_known_before_the_work(call: Call, source: Path, face_picture: Path) -> None:
    error = call("bench", "motion", source.parent, face_picture, "--clip", "none", code=1).error
    assert "no such video; choose others with --clip" in error


def test_aims_are_judged_each_by_its_own_bound_and_small_yaw_not_at_all() -> None:
    row = {"mouth": 0.9, "mouth_ceiling": 1.0, "mouth_amplitude": 1.3, "yaw": 0.1, "yaw_ceiling": 1.0}
    row |= {"yaw_amplitude": 1.0, "yaw_spread": 5.0, "distance": 0.5, "nearer": 0.94, "flicker": float("nan")}
    assert judge(row) == {
        "mouth": True, "mouth amplitude": False, "distance": True, "nearer": False, "flicker": False
    }  # fmt: skip
    assert judge(row | {"yaw_spread": 7.0}) | {} == judge(row) | {"yaw": False, "yaw amplitude": True}


def test_filter_that_does_nothing_removes_nothing_and_a_late_one_is_late() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(120) / 25
    moved = np.sin(5 * t)[:, None, None] * rng.normal(size=(1, 6, 8)) + 0.05 * rng.normal(size=(120, 6, 8))
    deltas = PoseDeltas(moved.astype(np.float32), 1.0, Fraction(25), cuts=np.arange(120) == 0)
    assert filtering(deltas, "moving-average", 0.0) == pytest.approx(
        {"jitter_removed": 0, "amplitude_kept": 1, "lag": 0}, abs=1e-6
    )
    centred = filtering(deltas, "gaussian", 0.3)
    assert centred["jitter_removed"] > 0.5
    late = filtering(deltas, "one-euro", 0.3)
    assert late["jitter_removed"] > 0.3


def test_modulated_clip_has_the_brightness_that_was_asked_for(source: Path, tmp_path: Path) -> None:
    made = modulate(source, tmp_path / "made.mp4", 8, 0.2)
    info = probe(made)
    assert (info.num_frames, info.frame_rate) == (8, probe(source).frame_rate)
    before, after = (np.array([brightness(f) for f in frames(p, probe(p))])[:8] for p in (source, made))
    wanted = 1 + 0.2 * np.sin(2 * np.pi * np.arange(8) / float(info.frame_rate) / 1.3)
    np.testing.assert_allclose(after / before, wanted, atol=0.05)
