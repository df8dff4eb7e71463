from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import made_up_faces, squeezenet_file

from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import MediaError, ModelError
from reanimate.images import read_image
from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.autoencoder import AutoencoderConfig
from reanimate.training.data import Faces
from reanimate.training.likeness import Likeness
from reanimate.training.run import PATIENCE, Training

NOTHING = Likeness(None, None)  # but L1
TINY = AutoencoderConfig(
    resolution=16,
    images=16,
    batch=4,
    channel_base=64,
    channel_max=8,
    w_dim=8,
    first_resolution=8,
    warmup_images=8,
)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return made_up_faces()


@pytest.fixture
def start(faces: Faces, tmp_path: Path) -> Callable[..., Training]:
    def build(name: str = "run", **changes: Any) -> Training:
        return Training(tmp_path / name, replace(TINY, **changes), faces, NOTHING, "cpu")

    return build


def silent(images: int, losses: dict[str, float]) -> None:
    """Report nothing."""


def test_movements_are_measured_on_pairs_of_held_out_people(tmp_path: Path, start: Callable[..., Training]) -> None:
    many = Training(tmp_path / "many", TINY, made_up_faces(80), NOTHING, "cpu")
    assert len(many.test_index) >= 4
    assert {"held_out_moves", "held_out_moves_of_others"} <= {n for n, v in many.measure().items() if np.isfinite(v)}
    assert many.measure() == many.measure()
    assert len(start().test_index) < 2 and "held_out_moves" not in start().measure(), "one alone has nobody to move"


def test_interrupted_run_ends_as_the_uninterrupted_to_the_last_bit(
    start: Callable[..., Training], tmp_path: Path
) -> None:
    straight = start("straight")
    assert straight.run(silent)
    stops = 0
    while not (resumed := start("stopping")).run(silent, minutes=0):  # one batch at a time
        stops += 1
    assert stops == 3
    for kind in ("generator", "encoder"):
        a, b = getattr(straight.model.networks, kind).state_dict(), getattr(resumed.model.networks, kind).state_dict()
        assert all(torch.equal(a[name], b[name]) for name in a)
    cards = [run.export(tmp_path / f"{i}", "m", "MIT", "blots") for i, run in enumerate((straight, resumed))]
    assert cards[0].digest == cards[1].digest


def test_finished_run_has_nothing_left_to_do(start: Callable[..., Training]) -> None:
    start().run(silent)
    again = start()
    assert again.model.images == 16
    before = again.model.networks.encoder.to_w.weight.clone()
    assert again.run(silent)
    assert torch.equal(again.model.networks.encoder.to_w.weight, before)


def test_run_goes_on_to_more_images_than_were_asked_for_at_first(start: Callable[..., Training]) -> None:
    start().run(silent)
    longer = start(images=24)
    assert longer.model.images == 16 and longer.run(silent) and longer.model.images == 24


def test_progress_is_reported_with_losses(start: Callable[..., Training]) -> None:
    said: list[tuple[int, dict[str, float]]] = []
    start().run(lambda images, losses: said.append((images, losses)))
    assert said[0][0] == 4 and said[0][1]["l1"] > 0


def test_curves_and_sheets_are_written(start: Callable[..., Training], tmp_path: Path, faces: Faces) -> None:
    start().run(silent, every=8)
    rows = [json.loads(line) for line in (tmp_path / "run" / "curves.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [8, 16]
    assert all(row["held_out_l1"] > 0 and row["l1"] > 0 for row in rows)
    held_out = int(faces.held_out.sum())
    sheet = read_image(tmp_path / "run" / "reconstructions.png")
    assert sheet.shape == (2 * 18 - 2, min(held_out, 8) * 18 - 2, 3)
    assert read_image(tmp_path / "run" / "samples.png").shape == (4 * 18 - 2, 8 * 18 - 2, 3)
    assert read_image(tmp_path / "run" / "curves.png").shape[2] == 3


def test_generated_sheets_say_that_they_are(start: Callable[..., Training], tmp_path: Path) -> None:
    start().run(silent)
    for name in ("samples.png", "reconstructions.png"):
        assert b"synthetic" in (tmp_path / "run" / name).read_bytes()[:200]


def test_measuring_is_of_held_out_people_only(start: Callable[..., Training], faces: Faces) -> None:
    run = start()
    assert run.test_index.tolist() == np.flatnonzero(faces.held_out).tolist()
    assert not set(run.test_index) & set(run.train_index)
    real, fake = run.model.networks.reconstruct(run.test_index)
    assert run.measure()["held_out_l1"] == pytest.approx(float((real - fake).abs().mean()), rel=1e-5)


@pytest.mark.parametrize("changes", [{"batch": 2}, {"resolution": 32}, {"generator_lr": 0.1}], ids=str)
def test_folder_of_a_run_with_other_settings_is_an_error_that_names_them(
    start: Callable[..., Training], changes: dict[str, Any]
) -> None:
    start().run(silent, minutes=0)
    with pytest.raises(ModelError, match=next(iter(changes))) as caught:
        start(**changes)
    assert len(str(caught.value).splitlines()) == 1


def refused(start: Callable[..., Training]) -> None:
    with pytest.raises(ModelError, match="remove it to begin again") as caught:
        start()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02.", bytes(1000)])
def test_garbage_for_a_state_is_one_line_of_error(
    start: Callable[..., Training], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(content)
    refused(start)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_truncated_state_is_one_line_of_error(start: Callable[..., Training], tmp_path: Path, cut: float) -> None:
    start().run(silent, minutes=0)
    path = tmp_path / "run" / "state.pt"
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    refused(start)


@pytest.mark.parametrize("entry", ["config", "networks", "optimiser", "images", None])
@pytest.mark.parametrize("value", [None, [], {}], ids=str)
def test_state_with_a_wrong_entry_is_one_line_of_error(
    start: Callable[..., Training], tmp_path: Path, entry: str | None, value: object
) -> None:
    run = start()
    state = run.model.state()
    (tmp_path / "run" / "state.pt").touch()
    torch.save(value if entry is None else {**state, entry: value}, tmp_path / "run" / "state.pt")
    with pytest.raises(ModelError) as caught:
        start()
    assert len(str(caught.value).splitlines()) == 1


def test_state_that_would_run_code_is_refused_and_does_not(start: Callable[..., Training], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "run").mkdir()
    torch.save({"config": Payload()}, tmp_path / "run" / "state.pt")
    refused(start)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "run" / "state.pt", weights_only=False)
    assert (tmp_path / "ran").exists()  # the payload works where it is let


def test_too_few_people_are_an_error(tmp_path: Path, faces: Faces) -> None:
    for chosen in (faces.held_out, ~faces.held_out):
        some = Faces(faces.pictures[chosen], faces.landmarks[chosen], faces.names[chosen], faces.resolution)
        with pytest.raises(MediaError, match="too few people"):
            Training(tmp_path / "run", TINY, some, NOTHING, "cpu")


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path, faces: Faces) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write"):
        Training(tmp_path / "file" / "run", TINY, faces, NOTHING, "cpu")


def test_exported_bundle_is_the_averaged_model(start: Callable[..., Training], tmp_path: Path, faces: Faces) -> None:
    run = start()
    run.run(silent)
    card = run.export(tmp_path / "model", "blots", "CC0", "blots of colour")
    loaded = load_bundle(str(tmp_path / "model"))
    assert (loaded.card.digest, loaded.card.name, loaded.card.licence) == (card.digest, "blots", "CC0")
    assert loaded.encoder is not None
    real, fake = run.model.networks.reconstruct(run.test_index)
    assert torch.allclose(loaded.generator.synthesis(loaded.encoder(real)), fake, atol=0.02)
    assert card.provenance["trained_on"] == "blots of colour"
    assert card.provenance["images_seen"] == 16
    assert card.provenance["faces_trained_on"] == int((~faces.held_out).sum())
    assert card.provenance["people_held_out"] == int(faces.held_out.sum())
    assert card.measured["held_out_l1"] > 0 and card.measured["w_rms"] > 0


def test_model_without_a_teacher_or_too_small_for_one_has_no_features_of_its_own(
    start: Callable[..., Training], tmp_path: Path, faces: Faces
) -> None:
    assert start().own_features(1, silent) is None
    teacher = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    small = Training(tmp_path / "small", TINY, faces, Likeness(teacher, None), "cpu")
    assert small.own_features(1, silent) is None


def test_features_of_its_own_go_with_the_bundle(tmp_path: Path) -> None:
    teacher = SqueezeNetFeatures(squeezenet_file(tmp_path / "weights.npz"))
    config = replace(TINY, resolution=32, feature_ramp=(2.0, 3.0))
    run = Training(tmp_path / "run", config, made_up_faces(resolution=32), Likeness(teacher, None), "cpu")
    assert run.own_features(0, silent) is None
    card = run.export(tmp_path / "model", "m", "MIT", "blots", run.own_features(1, silent))
    assert load_bundle(str(tmp_path / "model")).features is not None
    assert "distilled" in card.provenance["features"]


def test_training_stops_when_held_out_faces_stop_getting_better(start: Callable[..., Training], tmp_path: Path) -> None:
    run = start(images=100, grow_at=0.0, feature_ramp=(-1.0, 0.0))
    assert not run.run(silent, minutes=0) and not run.is_stale()
    row = json.loads((tmp_path / "run" / "curves.jsonl").read_text().splitlines()[-1])
    falling = [row["held_out_l1"] - i / 1000 for i in range(10)]
    lines = [json.dumps({**row, "held_out_l1": value}) for value in falling]
    (tmp_path / "run" / "curves.jsonl").write_text("\n".join(lines) + "\n")
    assert not run.is_stale()
    lines += [json.dumps({**row, "held_out_l1": falling[-1] + 0.001})] * PATIENCE
    (tmp_path / "run" / "curves.jsonl").write_text("\n".join(lines) + "\n")
    assert run.is_stale()
    assert run.run(silent, every=4) and run.model.images < 100
