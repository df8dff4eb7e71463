"""`reanimate models calibrate` writes what it measures into the card, and leaves all else alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Done, tiny_generator

from pipeline.artefacts import load_deltas
from reanimate import calibration
from reanimate.checkpoints.bundle import load_bundle, read_card, save_bundle

Call = Callable[..., Done]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "STEPS", (1, 2))


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))


def test_card_gains_what_was_measured_and_the_digest_stays(call: Call, bundle: Path) -> None:
    before = read_card(bundle)
    found = json.loads(call("models", "calibrate", bundle, "--faces", 16, "--json").out)
    after = read_card(bundle)
    assert after.measured == found
    assert found["w_rms"] > 0 and found["default_steps_from"] == "generated faces"
    assert (after.digest, after.files, after.provenance) == (before.digest, before.files, before.provenance)
    load_bundle(str(bundle))


def test_model_of_no_faces_is_said_in_one_line(call: Call, bundle: Path) -> None:
    done = call("models", "calibrate", bundle, "--faces", 16)
    said = [line for line in done.err.splitlines() if "a face is seen in 0%" in line]
    assert len(said) == 1
    assert "motion_layers" not in read_card(bundle).measured
    assert done.out.splitlines()[-1] == str(bundle)
    assert "w_rms: " in done.out


def test_what_others_measured_stays_and_what_is_outdated_goes(call: Call, tmp_path: Path) -> None:
    save_bundle(
        tmp_path / "mine", "mine", tiny_generator(), None, {}, {"held_out_l1": 0.1, "motion_layers": [0]}, "MIT"
    )
    call("models", "calibrate", "mine", "--faces", 16)
    measured = read_card(tmp_path / "mine").measured
    assert measured["held_out_l1"] == 0.1
    assert "motion_layers" not in measured, "the model shows no faces: nobody knows"


def test_clips_give_the_typical_pose_and_run_uses_it(
    call: Call, bundle: Path, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    call("models", "calibrate", bundle, "--faces", 16, "--clip", source)
    measured = read_card(bundle).measured
    (deltas,) = (tmp_path / "cache" / "decompose").glob("*/deltas.json")
    assert measured["typical_pose_rms"] == pytest.approx(load_deltas(deltas.parent).scale, abs=1e-5)
    assert (measured["typical_pose_from"], measured["default_steps_from"]) == ("1 clip", "real faces")
    told = call("plan", source, face_picture, "--model", bundle, "--amplitude", "model")
    assert "apply" in told.out, "which an amplitude of the model needs the typical pose for"


def test_clip_without_a_face_changes_nothing(call: Call, bundle: Path, tmp_path: Path) -> None:
    before = (bundle / "model.json").read_bytes()
    assert "nowhere.mp4" in call("models", "calibrate", bundle, "--clip", "nowhere.mp4", code=1).error
    assert (bundle / "model.json").read_bytes() == before


def test_bundle_that_cannot_be_written_is_one_line_before_the_work(
    call: Call, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    done = call("models", "calibrate", bundle, code=1)
    assert "calibrate a copy of it" in done.error
    assert "calibrate  " not in done.err


def test_result_of_the_cache_is_left_as_its_manifest_has_it(call: Call, bundle: Path) -> None:
    (bundle / "manifest.json").write_text("{}")
    assert "import it under a name" in call("models", "calibrate", bundle, code=1).error
