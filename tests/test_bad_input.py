"""What a user gets wrong is answered in one line, with exit code 1, and costs nothing that was finished."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK_SETS, Done, stages, tiny_encoder, tiny_generator, write_clip

from pipeline.graph import open_model, run_graph, settings
from pipeline.store import Store
from reanimate.checkpoints.bundle import save_bundle
from reanimate.images import write_image

Call = Callable[..., Done]


def make_bad_source(kind: str, folder: Path, good: Path, frames: np.ndarray) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a video\n" * 100)
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:2000])
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(10_000))
    elif kind == "folder":
        path.mkdir()
    elif kind == "single":
        write_clip(path, frames[:1])
    elif kind == "tiny":
        write_clip(path, np.zeros((2, 16, 16, 3), np.uint8))
    elif kind == "faceless":
        write_clip(path, np.tile(np.arange(96, dtype=np.uint8)[:, None, None], (6, 1, 96, 3)))
    elif kind == "still":
        path = folder / "still.png"
        write_image(path, frames[0])
    elif kind == "hidden still":
        write_image(path, frames[0])
    return path


BAD_SOURCES = {
    "missing": "no such file",
    "empty": "is empty",
    "text": "not a video",
    "truncated": "",
    "noise": "not a video",
    "folder": "is a folder",
    "single": "single frame",
    "tiny": "no face in 2 of 2 frames",
    "faceless": "no face in 6 of 6 frames",
    "still": "still picture; a source must be a video",
    "hidden still": "still picture; a source must be a video",
}


@pytest.mark.parametrize("kind", BAD_SOURCES)
def test_bad_source_is_one_line(
    call: Call, source: Path, face_picture: Path, face_frames: np.ndarray, quick: list[object], tmp_path: Path,
    kind: str,
) -> None:  # fmt: skip
    bad = make_bad_source(kind, tmp_path, source, face_frames)
    error = call("run", bad, face_picture, *quick, "-o", "out.mp4", code=1).error
    assert str(bad) in error
    assert BAD_SOURCES[kind] in error
    assert not (tmp_path / "out.mp4").exists()


def make_bad_target(kind: str, folder: Path, good: Path) -> Path:
    path = folder / f"{kind}.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a picture\n")
    elif kind == "truncated":
        path = folder / "truncated.jpg"
        path.write_bytes(good.read_bytes()[:300])
    elif kind == "folder":
        path.mkdir()
    elif kind == "16 px":
        write_image(path, np.full((16, 16, 3), 128, np.uint8))
    elif kind == "noise":
        write_image(path, np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    elif kind == "document":
        path = folder / "letter.txt"
        path.write_text("Dear reader\n")
    return path


BAD_TARGETS = {
    "missing": "no such file",
    "empty": "not a picture",
    "text": "not a picture",
    "truncated": "",
    "folder": "is a folder",
    "16 px": "no human face found",
    "noise": "no human face found",
    "document": "not a video",
}


@pytest.mark.parametrize("kind", BAD_TARGETS)
def test_bad_target_is_one_line_and_the_sources_stages_stay(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path, kind: str
) -> None:
    before = stages(finished)
    bad = make_bad_target(kind, tmp_path, face_picture)
    error = call("run", source, bad, *quick, "-o", "out.mp4", code=1).error
    assert str(bad) in error
    assert BAD_TARGETS[kind] in error
    assert stages(finished) == before


BAD_OPTIONS = {
    "--gain nan": "gain: expects a finite number, got nan",
    "--gain inf": "gain: expects a finite number, got inf",
    "--gain 1e9": "gain: 1000000000.0 is not from -100 to 100",
    "--gain much": "--gain",
    "--smooth -1": "smooth.seconds: -1.0 is not from 0 to 10",
    "--smooth nan": "smooth.seconds",
    "--size 3": "size: 3 is not from 16 to 4096 px",
    "--size big": "--size",
    "--layers 0-99": "apply.layers",
    "--layers 3-1": "'3-1' is not a list of layers such as 0-3,7",
    "--layers x": "is not a list of layers",
    "--layers ²": "is not a list of layers",
    "--layers ''": "is not a list of layers",
    "--preset slow": "'slow' is not one of",
    "--amplitude model": "no typical pose RMS; use --amplitude source",
    "--device toaster": "'toaster' is not at hand; use auto or cpu",
    "--device cuda:99": "is not at hand",
    "--device meta": "'meta' is not supported",
    "--model nobody": "not found; give a bundle's folder, an official checkpoint, or one of: faces",
    "--set gain=1": "expects stage.key=value",
    "--set aply.gain=1": "the nearest is apply",
    "--set apply.gian=1": "the nearest is gain",
    "--set apply.gain=loud": "expects a number",
    "--set invert.steps=-1": "must not be negative",
    "--set invert.norm=3": "3 is not 1 or 2",
    "--set invert.loss=squeezenet": "use multiscale or vgg16",
    "--set encode.crf=99": "99 is not from 0 to 51",
    "--set align.resolution=32": "the model works at 16 px",
    "--on-missing-face maybe": "'maybe' is not one of",
    "--config nowhere.toml": "no such file",
    "--config .": "is a directory",
}


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_bad_value_is_one_line(
    call: Call, finished: Path, source: Path, face_picture: Path, tiny_bundle: Path, option: str, command: str
) -> None:
    name, _, value = option.partition(" ")
    before = stages(finished)
    model = [] if name == "--model" else ["--model", tiny_bundle]
    error = call(command, source, face_picture, *model, name, value.strip("'"), code=1).error
    assert BAD_OPTIONS[option] in error
    assert stages(finished) == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[apply\ngain = 1", "not valid toml"),
        ("[apply]\ngian = 1", "apply.gian: there is no such setting; the nearest is gain"),
        ("[aply]\ngain = 1", "aply: there is no such section; the nearest is apply"),
        ("gain = 1", "gain"),
        ("[apply]\ngain = 'loud'", "apply.gain: expects a number, got 'loud'"),
        ("\x00\x01", "not valid toml"),
    ],
)
def test_bad_config_is_one_line(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    error = call("run", source, face_picture, *quick, "--config", "run.toml", code=1).error
    assert complaint in error


def test_config_is_below_set_and_set_below_flags(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text("[apply]\ngain = 1.5\n")
    command = ("plan", source, face_picture, *quick, "--config", "run.toml")
    assert "gain 1.0 → 1.5" in call(*command).out
    assert "gain 1.0 → 1.6" in call(*command, "--set", "apply.gain=1.6").out
    assert "gain 1.0 → 1.7" in call(*command, "--set", "apply.gain=1.6", "--gain", 1.7).out


BAD_OUTPUTS = {
    "nowhere/out.mp4": "no such folder",
    "folder.mp4": "is a folder",
    "out.gif": "give a name that ends in .mp4",
    "link.mp4": "is an input too",
    "null.mp4": "is not a regular file",
}


@pytest.mark.parametrize("name", BAD_OUTPUTS)
def test_bad_output_is_one_line_before_any_work(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    clip = Path(shutil.copy(source, tmp_path / "clip.mp4"))
    (tmp_path / "link.mp4").symlink_to(clip)
    (tmp_path / "null.mp4").symlink_to("/dev/null")
    error = call("run", clip, face_picture, *quick, "-o", name, code=1).error
    assert name in error
    assert BAD_OUTPUTS[name] in error
    assert not (tmp_path / "cache").exists()
    assert clip.read_bytes() == source.read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission_is_one_line(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    error = call("run", source, face_picture, *quick, "-o", "closed/out.mp4", code=1).error
    assert "permission denied" in error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_cache_disk_is_one_line_and_what_was_finished_is_kept(
    call: Call, source: Path, face_picture: Path, quick: list[object], small_disk: Path, tmp_path: Path
) -> None:
    command = ("run", source, face_picture, *quick, "-o", "out.mp4")
    error = call(*command, "--cache-dir", small_disk, code=1).error
    assert "no space left on the disk; free some or pass --cache-dir" in error
    assert len(stages(small_disk)["track"]) >= 1
    kept = stages(small_disk)
    assert "no space left" in call(*command, "--cache-dir", small_disk, code=1).error
    assert {stage: keys & stages(small_disk)[stage] for stage, keys in kept.items()} == kept


def test_full_output_disk_is_one_line(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], small_disk: Path
) -> None:
    (small_disk / "fill").write_bytes(bytes(60 << 10))
    error = call("run", source, face_picture, *quick, "-o", small_disk / "out.mp4", code=1).error
    assert "cannot write (no space left on device)" in error
    assert [path.name for path in small_disk.iterdir()] == ["fill"]


def test_cache_that_is_a_file_is_one_line(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("")
    assert "cache" in call("run", source, face_picture, *quick, code=1).error


def test_no_home_for_the_cache_is_one_line(
    call: Call, source: Path, face_picture: Path, quick: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("REANIMATE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "pass --cache-dir" in call("run", source, face_picture, *quick, code=1).error


def test_error_of_a_file_nobody_answers_for_is_one_line(
    call: Call, source: Path, face_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("pipeline.graph.open_model", refuse)
    assert call("run", source, face_picture, code=1).error == "error: /somewhere: permission denied"


def broken_bundle(kind: str, good: Path, folder: Path) -> Path:
    path = Path(shutil.copytree(good, folder / "model"))
    card = path / "model.json"
    text = card.read_text()
    weights = path / "generator.safetensors"
    if kind == "garbage":
        card.write_bytes(b"\xff\x00garbage")
    elif kind == "a list":
        card.write_text("[]")
    elif kind == "no card":
        card.unlink()
    elif kind == "no weights":
        weights.unlink()
    elif kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif kind == "other weights":
        weights.write_bytes(bytes(weights.stat().st_size))
    elif kind == "huge":
        card.write_text(text.replace('"resolution": 16', '"resolution": 1073741824'))
    elif kind == "odd":
        card.write_text(text.replace('"resolution": 16', '"resolution": "sixteen"'))
    elif kind == "listed":
        card.write_text(text.replace('"measured": {}', '"measured": []'))
    elif kind == "layers":
        card.write_text(text.replace('"measured": {}', '"measured": {"motion_layers": 5}'))
    return path


@pytest.mark.parametrize(
    "kind",
    ["garbage", "a list", "no card", "no weights", "cut weights", "other weights", "huge", "odd", "listed", "layers"],
)
def test_broken_bundle_is_one_line(
    call: Call, tiny_bundle: Path, source: Path, face_picture: Path, tmp_path: Path, kind: str
) -> None:
    bundle = broken_bundle(kind, tiny_bundle, tmp_path)
    error = call("run", source, face_picture, "--model", bundle, "-o", "out.mp4", code=1).error
    assert str(bundle) in error


def test_corrupted_result_of_the_right_size_is_one_line_and_verify_helps(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    for path in finished.glob("invert/*/latents.npz"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    command = ("run", source, face_picture, *quick, "-o", "out.mp4", "--force", "decompose")
    assert "reanimate cache verify" in call(*command, code=1).error
    assert "2 damaged" in call("cache", "verify", code=1).error
    assert "source/invert: the cached result is damaged" in call(*command).err


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "zip", "cut", "flipped", "folder"])
@pytest.mark.parametrize("command", ["apply", "show"])
def test_garbage_pose_file_is_one_line(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path, kind: str,
    command: str,
) -> None:  # fmt: skip
    path = tmp_path / "pose.npz"
    call("pose", "export", source, *quick, "-o", path)
    data = bytearray(path.read_bytes())
    path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("pose")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("deltas.npy", b"none")
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "flipped":
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    elif kind == "folder":
        path.mkdir()
    arguments = ("pose", "apply", path, face_picture, *quick, "-o", "out.mp4")
    error = call(*(arguments if command == "apply" else ("pose", "show", path)), code=1).error
    assert "pose.npz" in error


def test_pose_of_another_model_is_one_line(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    call("pose", "export", source, *quick, "-o", "pose.npz")
    generator = tiny_generator(seed=1)
    save_bundle(tmp_path / "other", "other", generator, tiny_encoder(generator), {}, {}, "MIT")
    error = call("pose", "apply", "pose.npz", face_picture, "--model", "other", "-o", "out.mp4", code=1).error
    assert "pose.npz was made with model" in error
    assert "export it again" in error


def test_busy_result_is_one_line(
    call: Call, source: Path, face_picture: Path, quick: list[object], tiny_bundle: Path, tmp_path: Path
) -> None:
    model = open_model(str(tiny_bundle))
    goal = run_graph(source, face_picture, model, settings(model, sets=QUICK_SETS))
    store = Store(tmp_path / "cache")
    with store.lock(goal):
        error = call("run", source, face_picture, *quick, "-o", "out.mp4", code=1).error
    assert f"another reanimate (pid {os.getpid()}) is working on this" in error
    call("run", source, face_picture, *quick, "-o", "out.mp4")


def test_name_that_is_no_text_is_written_and_shown(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    call("run", source, face_picture, *quick, "-o", name)
    assert (tmp_path / name).is_file()
    assert call("run", os.fsdecode(b"\xe9.mp4"), face_picture, *quick, code=1).error.startswith("error: ?.mp4: no such")


def test_wrong_usage_exits_with_2(call: Call) -> None:
    assert "No such option" in call("run", "a.mp4", "b.jpg", "--gian", 2, code=2).err
    assert "Missing argument" in call("run", "a.mp4", code=2).err
    assert "No such command" in call("runn", code=2).err
    assert "Missing option" in call("invert", "a.jpg", code=2).err
    assert "give -o for one target" in call("pose", "apply", "pose.npz", "a.jpg", code=2).err


def test_exit_codes_and_one_line_hold_for_the_process_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reanimate", "pose", "show", "nothing.npz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: nothing.npz: no such file\n"
    assert done.stdout == ""
