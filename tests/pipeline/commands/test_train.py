"""Training on a handful of faces: a bundle that the rest of the program takes, and work that goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import QUICK, Done

from pipeline.commands.train import FAMILIES
from reanimate.checkpoints.bundle import load_bundle, read_card, save_bundle
from reanimate.images import write_image
from reanimate.inversion.features import FaceFeatures, FaceFeaturesConfig
from reanimate.training.data import _align_one, _pack, is_held_out
from reanimate.training.plain import Family
from reanimate.video import probe

Call = Callable[..., Done]
TINY = ("--resolution", 16, "--channel-base", 128, "--channel-max", 8, "--batch", 2, "--device", "cpu")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory, face_picture: Path, face_frames: np.ndarray) -> Path:
    """Three people to train on and one who is held out, two pictures each."""
    folder = tmp_path_factory.mktemp("photographs")
    names = (f"person{i}" for i in count())
    trained = [name for name, _ in zip((n for n in names if not is_held_out(n)), range(3), strict=False)]
    held_out = next(name for name in names if is_held_out(name))
    for i, name in enumerate([*trained, held_out]):
        (folder / name).mkdir()
        write_image(folder / name / "a.png", face_frames[2 * i])
        shutil.copy(face_picture, folder / name / "b.jpg")
    (folder / trained[0] / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """The same, aligned here: a pool's processes take seconds to start."""
    names = sorted(str(path.relative_to(photographs)) for path in photographs.rglob("*.*"))
    found = [(name, _align_one(photographs / name, 32)) for name in names]
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    path.write_bytes(_pack([(name, *face) for name, face in found if face is not None], 32))
    return path


def test_folder_of_people_becomes_a_bundle_that_runs(
    call: Call, photographs: Path, source: Path, face_picture: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # each process of a pool takes seconds to start
    done = call(
        "train", photographs, "-o", "mine", *TINY, "--images", 6, "--source", "three friends", "--licence", "MIT"
    )
    assert "8 faces, 2 of them held out" in done.err
    card = read_card(tmp_path / "mine")
    assert done.out == f"mine  digest {card.digest[:12]}\n"
    assert (card.name, card.licence, card.provenance["trained_on"]) == ("mine", "MIT", "three friends")
    assert card.provenance["images_seen"] == 6
    assert "trained_on: three friends" in call("models", "show", "mine").out
    call("run", source, face_picture, "--model", "mine", *QUICK, "-o", "out.mp4")
    assert probe(tmp_path / "out.mp4").width == 16
    again = call("train", photographs, "-o", "mine", "--prepare-only")
    assert again.out == "mine.training/faces.npz\n"
    assert "note: mine.training/faces.npz holds the faces as aligned before" in again.err
    assert card.measured["held_out_identity"] > 0  # dlib is here, so its descriptor taught
    assert (tmp_path / "mine.training" / "faces.identity.npz").is_file()


def test_same_command_goes_on_and_ends_as_if_it_had_never_stopped(call: Call, faces: Path, tmp_path: Path) -> None:
    call("train", faces, "-o", "whole", *TINY, "--images", 8)
    command = ("train", faces, "-o", "parts", *TINY, "--images", 8)
    stopped = call(*command, "--minutes", 0)
    assert "stopped at 2 of 8 images; the same command goes on" in stopped.err
    assert stopped.out == ""
    assert not (tmp_path / "parts").exists()
    call(*command)
    assert read_card(tmp_path / "parts").provenance["images_seen"] == 8
    curves = (tmp_path / "parts.training" / "curves.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in curves] == [2, 8]
    whole, parts = (load_bundle(str(tmp_path / name)) for name in ("whole", "parts"))
    assert whole.card.digest == parts.card.digest


def test_prepared_faces_are_described_beside_them(call: Call, faces: Path, tmp_path: Path) -> None:
    packed = tmp_path / "some.npz"
    shutil.copy(faces, packed)
    call("train", packed, "-o", "bare", *TINY, "--images", 2)
    assert "held_out_identity" not in read_card(tmp_path / "bare").measured
    assert call("train", "some.npz", "-o", "mine", "--prepare-only").out == "some.npz\n"
    assert (tmp_path / "some.identity.npz").is_file()
    call("train", packed, "-o", "known", *TINY, "--images", 2)
    assert read_card(tmp_path / "known").measured["held_out_identity"] > 0
    call("train", packed, "-o", "unknown", *TINY, "--images", 2, "--no-identity")
    assert "held_out_identity" not in read_card(tmp_path / "unknown").measured


def test_adversarial_recipe_goes_on_and_makes_a_bundle(call: Call, faces: Path, tmp_path: Path) -> None:
    command = ("train", faces, "-o", "mine", "--recipe", "adversarial", *TINY, "--images", 8, "--no-swap")
    assert "stopped at 2 of 8 images" in call(*command, "--minutes", 0).err
    call(*command)
    card = read_card(tmp_path / "mine")
    assert card.provenance["settings"]["swap"] is False and card.provenance["images_seen"] == 8
    assert card.config["mapping_layers"] == 2
    assert load_bundle(str(tmp_path / "mine")).encoder is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_recipe_makes_a_bundle_of_any_family_that_a_face_is_inverted_with(
    call: Call, faces: Path, face_picture: Path, tmp_path: Path, family: str
) -> None:
    command = ("train", faces, "-o", "mine", "--recipe", "plain", "--family", family, *TINY, "--images", 8)
    assert "stopped at 2 of 8 images" in call(*command, "--minutes", 0).err
    call(*command)
    card = read_card(tmp_path / "mine")
    assert (card.family, card.encoder) == (family, None)
    assert card.provenance["settings"]["family"] == family and "same for every family" in card.provenance["method"]
    call("invert", face_picture, "--model", "mine", "--set", "invert.first_steps=2", "-o", "out")


def test_families_on_offer_are_those_that_can_be_trained() -> None:
    assert get_args(Family) == FAMILIES


def test_recipes_do_not_go_on_with_each_other(call: Call, faces: Path) -> None:
    call("train", faces, "-o", "mine", *TINY, "--images", 2)
    error = call("train", faces, "-o", "mine", *TINY, "--images", 2, "--recipe", "adversarial", code=1).error
    assert "other settings" in error


def test_other_settings_do_not_go_on_in_the_same_folder(call: Call, faces: Path) -> None:
    call("train", faces, "-o", "mine", *TINY, "--images", 2)
    error = call("train", faces, "-o", "mine", *TINY, "--images", 2, "--channel-max", 16, code=1).error
    assert "other settings (channel_max)" in error


def test_bad_folders_are_one_line(call: Call, tmp_path: Path) -> None:
    assert "nowhere: no such folder" in call("train", "nowhere", "-o", "mine", code=1).error
    (tmp_path / "empty").mkdir()
    assert "empty: no pictures below this folder" in call("train", "empty", "-o", "mine", code=1).error
    (tmp_path / "some.npz").write_text("no faces")
    assert "some.npz: not a face file" in call("train", "some.npz", "-o", "mine", code=1).error


def test_faces_without_anyone_to_hold_out_are_one_line(call: Call, faces: Path, tmp_path: Path) -> None:
    with np.load(faces) as data:
        everything = dict(data)
    names = np.array([f"{everything['names'][0].partition('/')[0]}/{i}.png" for i in range(len(everything["names"]))])
    np.savez(tmp_path / "few.npz", **(everything | {"names": names}))
    assert "too few people" in call("train", "few.npz", "-o", "mine", *TINY, code=1).error


@pytest.mark.parametrize("recipe", ["autoencoder", "adversarial"])
def test_training_goes_on_from_a_bundle(call: Call, faces: Path, recipe: str) -> None:
    call("train", faces, "-o", "first", *TINY, "--images", 4)
    options = ("--no-swap", "--device", "cpu", "--recipe", recipe, "--batch", 2, "--images", 2)
    call("train", faces, "-o", "second", "--start", "first", *options)
    first, second = (read_card(Path(name)) for name in ("first", "second"))
    assert second.config == first.config and second.digest != first.digest
    begun = second.provenance["started_from"]
    assert begun["digest"] == first.digest and begun["images_seen"] == 4
    a, b = (load_bundle(name, "cpu").generator.state_dict() for name in ("first", "second"))
    weights = [n for n in a if n.endswith(("conv0.weight", "conv1.weight"))]
    assert weights and all((a[n] - b[n]).norm() <= 0.5 * a[n].norm() for n in weights)
    assert not all(torch.equal(a[n], b[n]) for n in weights)


def test_model_grows_to_twice_its_resolution_and_runs(
    call: Call, faces: Path, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    call("train", faces, "-o", "first", *TINY, "--images", 4)
    command = ("train", faces, "-o", "second", "--recipe", "grow", "--start", "first", "--batch", 2, "--images", 4)
    assert "stopped at 2 of 4 images" in call(*command, "--minutes", 0).err
    call(*command)
    first, second = (read_card(tmp_path / name) for name in ("first", "second"))
    assert second.config["resolution"] == 32 and second.config["channels"] == [*first.config["channels"], 8]
    assert second.encoder is not None and second.encoder["resolution"] == 16
    assert second.provenance["started_from"]["digest"] == first.digest and "grown" in second.provenance["method"]
    call("run", source, face_picture, "--model", "second", *QUICK, "-o", "out.mp4")
    assert probe(tmp_path / "out.mp4").width == 32


def test_features_of_the_model_that_training_goes_on_from_are_kept(faces: Path, call: Call, tmp_path: Path) -> None:
    call("train", faces, "-o", "first", *TINY, "--images", 2)
    bundle = load_bundle("first")
    torch.manual_seed(0)
    features = FaceFeatures(FaceFeaturesConfig()).requires_grad_(False)
    save_bundle(
        Path("taught"), "taught", bundle.generator, bundle.encoder, {"features": "taught by hand"}, {}, "MIT",
        features=features,
    )  # fmt: skip
    call("train", faces, "-o", "second", "--start", "taught", "--batch", 2, "--images", 2, "--no-swap")
    second = load_bundle("second")
    assert second.features is not None and second.card.provenance["features"] == "taught by hand"
    for a, b in zip(features.state_dict().values(), second.features.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-2, msg="but for half precision")


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (["--resolution", 48], "resolution: 48 is not one of 8, 16, 32"),
        (["--resolution", 0], "resolution: 0 is not one of"),
        (["--images", 0], "--images"),
        (["--batch", -1], "--batch"),
        (["--channel-base", 8], "channel-base: 8 leaves no channel at 16 px"),
        (["--device", "toaster"], "use auto or cpu"),
        (["--features", "nowhere.npz"], "nowhere.npz"),
        (["--minutes", -1], "--minutes"),
        (["--recipe", "adversarial", "--no-swap", "--batch", 1], "batch: 1 is too few"),
        (["--batch", 3], "batch: 3 is odd"),
        (["--recipe", "magic"], "--recipe"),
        (["--start", "faces"], "start: brings its own resolution and channels"),
        (["--start", "nowhere"], "nowhere"),
        (["--start", "faces", "--recipe", "plain"], "start: the recipe plain begins with random weights"),
        (["--recipe", "grow"], "start: the recipe grow needs a model to grow"),
        (["--start", "faces", "--recipe", "grow", "--resolution", 64], "start: brings its own resolution"),
        (["--family", "pggan"], "family: pggan has no styles, which the encoder of the autoencoder recipe reads"),
        (["--recipe", "adversarial", "--family", "mescheder"], "mescheder has no styles"),
        (["--recipe", "plain", "--family", "stylegan9"], "--family"),
        (["--recipe", "plain", "--channel-base", 8], "channel-base: 8 leaves no channel"),
    ],
)
def test_bad_value_is_one_line(call: Call, faces: Path, option: list[object], complaint: str) -> None:
    assert complaint in call("train", faces, "-o", "mine", *TINY, *option, code=1).error


def test_output_that_cannot_be_written_is_one_line(call: Call, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in call("train", faces, "-o", "file/mine", *TINY, code=1).error
