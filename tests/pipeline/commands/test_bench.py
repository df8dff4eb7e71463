"""Measurements say on what machine, and a failure in one row does not hide the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Done, squeezenet_file, tiny_encoder, tiny_generator

from pipeline.commands import reconstruct
from reanimate.checkpoints.bundle import save_bundle
from reanimate.generators.pggan import PGGAN, PGGANConfig
from reanimate.images import read_image, resize
from reanimate.metrics import face_descriptor
from reanimate.video import probe

Call = Callable[..., Done]


@pytest.fixture
def people(tmp_path: Path, face_picture: Path, second_target: Path) -> Path:
    for name, picture in (("ann", face_picture), ("bob", second_target)):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(picture, tmp_path / "people" / name / picture.name)
    return tmp_path / "people"


def test_reconstruct_measures_every_face_in_every_way(call: Call, people: Path, quick: list[object]) -> None:
    command = ("bench", "reconstruct", people, "--everyone", "--limit", 2, "--best", *quick)
    found = json.loads(call(*command, "--set", "invert.patience=1", "--json").out)
    assert "torch" in found["machine"]
    assert (found["model"], found["faces"]) == ("tiny", 2)
    assert list(found["rows"]) == ["crop", "encoder", "fast", "best"]
    assert found["rows"]["crop"]["psnr_db"] == 99.0, "a crop is itself"
    measures = {"mean_distance", "same_person", "share", "rank1", "rank1_person", "no_face_seen", "psnr_db"}
    assert set(found["rows"]["crop"]) == measures
    assert set(found["rows"]["encoder"]) == set(found["rows"]["fast"]) == measures | {"passes", "seconds"}
    assert found["rows"]["encoder"]["passes"] == 0 < found["rows"]["fast"]["passes"]
    assert found["rows"]["encoder"]["psnr_db"] < found["rows"]["fast"]["psnr_db"]
    assert "samples" not in found, "they need features"


def test_reconstruct_with_features_measures_them_and_draws_sheets(
    call: Call, people: Path, quick: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "SAMPLES", 12)
    weights = squeezenet_file(tmp_path / "weights.npz")
    command = ("bench", "reconstruct", people, "--everyone", *quick, "--set", "align.resolution=64", "--model")
    folder, generator = tmp_path / "model", tiny_generator(resolution=64)
    save_bundle(folder, "model", generator, tiny_encoder(generator), {}, {}, "MIT")
    found = json.loads(call(*command, folder, "--features", weights, "--sheets", "made", "--json").out)
    assert found["rows"]["crop"]["squeezenet"] == 0 < found["rows"]["fast"]["squeezenet"]
    assert found["samples"]["count"] == 12
    assert found["samples"]["frechet"] > 0 and np.isfinite(found["samples"]["kernel"])
    cell = 64 + 2
    shapes = {path.name: read_image(path).shape for path in (tmp_path / "made").iterdir()}
    assert shapes == {
        "reconstructions.png": (3 * cell - 2, 2 * cell - 2, 3),
        "samples.png": (4 * cell - 2, 16 * cell - 2, 3),
        "interpolations.png": (cell - 2, 9 * cell - 2, 3),
    }


def test_reconstruct_takes_a_model_without_styles_or_encoder(
    call: Call, people: Path, quick: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "SAMPLES", 12)
    weights = squeezenet_file(tmp_path / "weights.npz")
    torch.manual_seed(0)
    save_bundle(tmp_path / "rival", "rival", PGGAN(PGGANConfig(32, (8, 8, 4, 4), z_dim=8)), None, {}, {}, "MIT")
    sets = ("--set", "align.resolution=32", "--model", tmp_path / "rival", "--features", weights, "--sheets", "made")
    found = json.loads(call("bench", "reconstruct", people, "--everyone", *quick, *sets, "--json").out)
    assert list(found["rows"]) == ["crop", "fast"]
    assert found["samples"]["frechet"] > 0
    assert (tmp_path / "made" / "interpolations.png").is_file()


def test_reconstructed_faces_are_ranked_among_all(face_frames: np.ndarray, face_picture: Path) -> None:
    """Ann twice and bob once: her second photograph is hers, but not the one that was asked for."""
    faces = [
        resize(face_frames[0], 256, 256),
        resize(face_frames[1], 256, 256),
        resize(read_image(face_picture), 256, 256),
    ]
    described = [face_descriptor(face) for face in faces]
    assert all(found is not None for found in described)
    gallery = reconstruct.Gallery(np.stack(faces), np.array(described), np.array(["ann", "ann", "bob"]))
    own = reconstruct._row(gallery.crops, gallery, reconstruct.Yardsticks(), "cpu", "faces")
    assert (own["rank1"], own["rank1_person"], own["mean_distance"]) == (1, 1, 0)
    exchanged = reconstruct._row(gallery.crops[[1, 0, 2]], gallery, reconstruct.Yardsticks(), "cpu", "faces")
    assert (exchanged["rank1"], exchanged["rank1_person"]) == (pytest.approx(1 / 3, abs=1e-3), 1)
    blank = np.full_like(gallery.crops, 128)
    unseen = reconstruct._row(blank, gallery, reconstruct.Yardsticks(), "cpu", "faces")
    assert (unseen["rank1"], unseen["rank1_person"], unseen["mean_distance"], unseen["no_face_seen"]) == (0, 0, 1, 3)


def test_reconstruct_in_words(call: Call, people: Path, quick: list[object]) -> None:
    said = call("bench", "reconstruct", people, "--everyone", "--limit", 1, *quick).out
    assert said.startswith("machine: ")
    assert "faces: 1\n" in said
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["crop", "encoder", "fast"]
    assert len({line.count("|") for line in table}) == 1


def test_reconstruct_says_what_it_lacks(call: Call, people: Path, quick: list[object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no such folder" in call("bench", "reconstruct", "nowhere", *quick, code=1).error
    assert "pass --everyone" in call("bench", "reconstruct", "empty", *quick, code=1).error
    assert "--limit" in call("bench", "reconstruct", people, "--limit", 0, *quick, code=1).error
    (tmp_path / "file").write_text("")
    sheets = ("--everyone", "--sheets", "file")
    assert "cannot write" in call("bench", "reconstruct", people, *sheets, *quick, code=1).error
    features = ("--everyone", "--features", "file")
    assert "not an npz" in call("bench", "reconstruct", people, *features, *quick, code=1).error


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
