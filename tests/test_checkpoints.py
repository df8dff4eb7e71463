"""Official checkpoints from end to end: imported once, and then a model like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, SHARED, Done, mescheder_file, stages

from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import read_image
from reanimate.video import probe

Call = Callable[..., Done]
PARITY = SHARED / "parity"
STYLE = ["stylegan1/a-auto-res64/network.pkl", "stylegan2-ada/a-fp32-res64/network.pkl",
         "stylegan3/t-res64/network.pkl", "stylegan3/r-res64/network.pkl", "rosinality/a-converted-res64/checkpoint.pt",
         "rosinality/b-train-res64/checkpoint.pt"]  # fmt: skip
OTHER = ["pggan/a-fused-res64/network.pkl", "mescheder/a-resnet-celebahq-res64/model.pt",
         "mescheder/c-resnet4-celeba-res128/model.pt"]  # fmt: skip

shared = pytest.mark.skipif(not PARITY.is_dir(), reason="../shared/parity is not beside this checkout")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    mescheder_file(tmp_path / "model.pt")
    return tmp_path / "model.pt"


LONG = [pytest.param(file, marks=pytest.mark.slow) if "/r-" in file else file for file in STYLE]


@shared
@pytest.mark.parametrize("file", LONG)
def test_every_style_family_reanimates_ten_frames(
    call: Call, source: Path, face_picture: Path, tmp_path: Path, file: str
) -> None:
    done = call("run", source, face_picture, "--model", PARITY / file, *QUICK, "-o", "out.mp4")
    assert done.err.count("is imported into") == 1
    assert done.err.count("no features of its own: the loss is multi-scale L1") == 1
    made = probe(tmp_path / "out.mp4")
    assert (made.num_frames, made.width, made.height) == (10, 64, 64)
    again = call("run", source, face_picture, "--model", PARITY / file, *QUICK, "-o", "again.mp4").err
    assert "is imported into" not in again
    assert "nothing to do" in again


@shared
@pytest.mark.parametrize(("file", "num_ws"), [(STYLE[0], 10), (STYLE[2], 16)])
def test_layers_are_the_models_own(call: Call, source: Path, face_picture: Path, file: str, num_ws: int) -> None:
    command = ("plan", source, face_picture, "--model", PARITY / file, "--layers")
    call(*command, num_ws - 1)
    assert f"within 0 to {num_ws - 1}" in call(*command, num_ws, code=1).error


@shared
@pytest.mark.parametrize("file", OTHER)
def test_generators_without_styles_invert_in_z(call: Call, face_picture: Path, tmp_path: Path, file: str) -> None:
    call("invert", face_picture, "--model", PARITY / file, "--steps", 5, "-o", "codes")
    with np.load(tmp_path / "codes" / "target.npz") as data:
        assert data["ws"].shape[0] == 1 and data["ws"].ndim == 2
    assert read_image(tmp_path / "codes" / "target.recon.png").shape[0] in (64, 128)


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("command", ["invert", "run", "plan"])
def test_w_of_a_generator_without_styles_is_one_line(
    call: Call, source: Path, face_picture: Path, checkpoint: Path, command: str, space: str
) -> None:
    arguments = {"invert": [face_picture, "-o", "codes"]}.get(command, [source, face_picture])
    done = call(command, *arguments, "--model", checkpoint, "--set", f"invert.space={space}", code=1)
    assert f"model is no style generator and has no {space}; use z" in done.error


def test_generator_without_styles_reanimates_in_z(
    call: Call, source: Path, face_picture: Path, checkpoint: Path, tmp_path: Path
) -> None:
    call("run", source, face_picture, "--model", checkpoint, *QUICK, "-o", "out.mp4")
    assert probe(tmp_path / "out.mp4").num_frames == 10
    done = call("run", source, face_picture, "--model", checkpoint, "--layers", 1, code=1)
    assert "within 0 to 0" in done.error


def test_file_is_imported_once_wherever_it_lies(
    call: Call, face_picture: Path, checkpoint: Path, tmp_path: Path
) -> None:
    command = ("invert", face_picture, "--steps", 1, "-o", "codes", "--model")
    assert "model.pt is imported into" in call(*command, checkpoint).err
    assert "imported into" not in call(*command, checkpoint).err
    assert "imported into" not in call(*command, shutil.copy(checkpoint, tmp_path / "copy.pt")).err
    assert len(stages(tmp_path / "cache")["import"]) == 1
    mescheder_file(checkpoint, seed=1)
    assert "imported into" in call(*command, checkpoint).err
    assert len(stages(tmp_path / "cache")["import"]) == 2


def test_damaged_import_is_made_again(call: Call, face_picture: Path, checkpoint: Path, tmp_path: Path) -> None:
    command = ("invert", face_picture, "--steps", 1, "-o", "codes", "--model", checkpoint)
    call(*command)
    (weights,) = (tmp_path / "cache" / "import").glob("*/generator.safetensors")
    weights.write_bytes(b"")
    assert "the cached result is damaged" in call(*command).err
    assert call("cache", "verify").out.startswith("import ")


def test_plan_imports_and_then_says_what_run_does(
    call: Call, source: Path, face_picture: Path, checkpoint: Path, tmp_path: Path
) -> None:
    done = call("plan", source, face_picture, "--model", checkpoint, *QUICK)
    assert "is imported into" in done.err
    assert "model/import" not in done.out
    assert set(stages(tmp_path / "cache")) == {"import"}
    assert done.out.count("not made yet") == 14


@pytest.mark.parametrize("command", ["show", "bench"])
def test_other_commands_take_a_file_too(
    call: Call, checkpoint: Path, face_picture: Path, tmp_path: Path, command: str
) -> None:
    if command == "show":
        shown = call("models", "show", checkpoint, "-o", "faces.png")
        assert "model: mescheder" in shown.out
        assert read_image(tmp_path / "faces.png").shape == (4 * 18 - 2, 8 * 18 - 2, 3)
        return
    (tmp_path / "people" / "ann").mkdir(parents=True)
    shutil.copy(face_picture, tmp_path / "people" / "ann")
    options = ("--everyone", "--json", *QUICK)
    found = json.loads(call("bench", "reconstruct", "people", "--model", checkpoint, *options).out)
    assert (found["model"], found["faces"]) == ("model", 1)


def test_imported_model_goes_by_its_name(call: Call, face_picture: Path, checkpoint: Path, tmp_path: Path) -> None:
    done = call("models", "import", checkpoint, "--name", "mine", "--licence", "CC0")
    assert done.out == f"{tmp_path / 'cache' / 'models' / 'mine'}\n"
    assert any(line.startswith("mine ") and " 16 px" in line for line in call("models", "list").out.splitlines())
    assert "mine" in [card["name"] for card in json.loads(call("models", "list", "--json").out)]
    assert "mine: mescheder" in call("models", "show", "mine").out
    assert "licence CC0" in call("models", "show", "mine").out
    call("invert", face_picture, "--model", "mine", "--steps", 1, "-o", "codes")
    assert "one of: faces, mine" in call("models", "show", "nobody", code=1).error
    assert not (tmp_path / "cache" / "import").exists()


def test_bundle_is_written_where_it_is_asked_for(call: Call, checkpoint: Path, tmp_path: Path) -> None:
    assert call("models", "import", checkpoint, "-o", "there/bundle").out == "there/bundle\n"
    assert load_bundle(str(tmp_path / "there" / "bundle")).card.name == "model"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["bundle"]


def test_class_of_a_conditional_model_is_chosen_once(call: Call, tmp_path: Path) -> None:
    mescheder_file(tmp_path / "model.pt", classes=3)
    for label in (0, 2):
        call("models", "import", "model.pt", "--class", label, "--name", f"class{label}")
        call("models", "show", f"class{label}", "-o", f"{label}.png")
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "2.png").read_bytes()
    assert "no class 3" in call("models", "import", "model.pt", "--class", 3, "--name", "more", code=1).error


@pytest.mark.parametrize("name", ["faces", "downloads", "", "..", "a/b", ".hidden", "x" * 65, "a b"])
def test_name_that_cannot_be_one_is_one_line(call: Call, checkpoint: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(checkpoint, tmp_path / "faces.pt")  # what an empty name stands for
    error = call("models", "import", "faces.pt", "--name", name, code=1).error
    assert "cannot be a model's name; pass another --name" in error
    assert not (tmp_path / "cache" / "models").exists()


def test_failed_import_leaves_nothing_and_a_finished_one_is_not_replaced(
    call: Call, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.pt").write_bytes(checkpoint.read_bytes()[:-500])
    call("models", "import", "broken.pt", "--name", "mine", code=1)
    assert not list((tmp_path / "cache" / "models").iterdir())
    call("models", "import", "model.pt", "--name", "mine")
    assert "is there already" in call("models", "import", "model.pt", "--name", "mine", code=1).error


def test_licence_of_a_fetched_checkpoint_is_known(
    call: Call, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.digests import record_digest
    from pipeline.key import file_digest
    from reanimate.checkpoints.known import KNOWN

    known = next(iter(KNOWN.values()))
    models = tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    record_digest(models, known.url, file_digest(checkpoint).removeprefix("sha256:"))
    call("models", "import", checkpoint, "--name", "mine")
    assert json.loads(call("models", "show", "mine", "--json").out)["licence"] == known.licence


def test_exported_model_comes_back(call: Call, tiny_bundle: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert call("models", "export", tiny_bundle, "-o", "tiny.pt").out == "tiny.pt\n"
    call("models", "import", "tiny.pt", "-o", "back")
    first, second = (load_bundle(str(folder)).generator for folder in (tiny_bundle, tmp_path / "back"))
    ws = first.mapping(torch.randn(2, 8))
    assert (first.synthesis(ws) - second.synthesis(ws)).abs().max() < 1e-5
    assert "only a StyleGAN2" in call("models", "export", checkpoint, "-o", "other.pt", code=1).error
    assert "no such folder" in call("models", "export", tiny_bundle, "-o", "nowhere/tiny.pt", code=1).error
