"""`reanimate run` from end to end: what comes out, what is done again, and what is not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, QUICK_SETS, Done, stages, write_clip

from pipeline.artefacts import load_identity, load_latents, load_track, open_frames
from pipeline.commands.options import prepare
from pipeline.graph import run_graph
from pipeline.stage import Node
from pipeline.tuned import tuned_generator
from reanimate.checkpoints.bundle import read_card
from reanimate.images import to_pictures
from reanimate.video import SYNTHETIC, find_ffmpeg, frames, probe

Call = Callable[..., Done]


def pictures(path: Path) -> np.ndarray:
    return np.stack(list(frames(path, probe(path))))


def result(cache: Path, source: Path, target: Path, bundle: Path, **flags: Any) -> dict[str, Path]:
    """{label: folder} of what a run with these flags and the quick options made."""
    setup = prepare(model=str(bundle), device="cpu", cache_dir=cache, sets=QUICK_SETS, **flags)
    found: dict[str, Path] = {}

    def visit(node: Node) -> None:
        found[node.label] = setup.store.folder(node)
        for made in node.inputs.values():
            if isinstance(made, Node):
                visit(made)

    visit(run_graph(source, target, setup.model, setup.chosen))
    return found


def mtimes(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


def contents(cache: Path) -> dict[Path, int]:
    """As mtimes, but for the manifests: a reused result is touched."""
    return {path: time for path, time in mtimes(cache).items() if path.name not in ("manifest.json", "last.json")}


def test_result_has_the_sources_frames_rate_duration_and_sound(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    done = call("run", source, face_picture, *quick, "-o", "out.mp4")
    assert done.out == "out.mp4\n"
    before, after = probe(source), probe(tmp_path / "out.mp4")
    assert after.num_frames == before.num_frames == len(pictures(tmp_path / "out.mp4"))
    assert after.frame_rate == before.frame_rate == Fraction(30000, 1001)
    assert after.duration == pytest.approx(before.duration, abs=1 / float(before.frame_rate))
    assert after.audio_codecs == before.audio_codecs == ("aac",)
    assert (after.width, after.height) == (16, 16), "the model's resolution"
    command = [find_ffmpeg(), "-v", "error", "-i", str(tmp_path / "out.mp4"), "-f", "ffmetadata", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert SYNTHETIC in said


def test_embedded_model_runs_on_the_examples(call: Call, source: Path, face_picture: Path, tmp_path: Path) -> None:
    call("run", source, face_picture, *QUICK, "-o", "out.mp4")
    after = probe(tmp_path / "out.mp4")
    resolution = read_card(Path(str(prepare(model="faces", device="cpu").model.folder))).config["resolution"]
    assert (after.width, after.height, after.num_frames) == (resolution, resolution, 10)


def test_size_changes_the_video_and_nothing_else(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    before = stages(finished)
    call("run", source, face_picture, *quick, "--size", 48, "-o", "out.mp4")
    assert probe(tmp_path / "out.mp4").width == probe(tmp_path / "out.mp4").height == 48
    after = stages(finished)
    assert {stage for stage in after if after[stage] != before[stage]} == {"encode"}


def test_output_is_named_after_target_and_source(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    assert call("run", source, face_picture, *quick).out == "target_source.mp4\n"
    assert (tmp_path / "target_source.mp4").is_file()


def test_same_command_again_does_nothing_but_say_so(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    command = ("run", source, face_picture, *quick, "-o", "out.mp4")
    first = call(*command)
    assert "source/invert" in first.err
    assert "nothing to do" not in first.err
    before, video = contents(tmp_path / "cache"), (tmp_path / "out.mp4").read_bytes()
    again = call(*command)
    assert contents(tmp_path / "cache") == before
    assert again.out == first.out
    assert "nothing to do: every stage is in the cache" in again.err
    assert " of " not in again.err, "no stage reports work"
    assert (tmp_path / "out.mp4").read_bytes() == video


def test_lost_output_is_delivered_again_from_the_cache(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    assert "nothing to do" in call("run", source, face_picture, *quick, "-o", "other.mp4").err
    assert probe(tmp_path / "other.mp4").num_frames == 10


def test_changed_gain_runs_only_what_depends_on_it(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    before = contents(finished)
    said = call("plan", source, face_picture, *quick, "--gain", 1.2).out
    assert re.findall(r"^ +run +(\S+)", said, re.MULTILINE) == ["apply", "synthesize", "encode"]
    assert "gain 1.0 → 1.2" in said
    assert contents(finished) == before
    call("run", source, face_picture, *quick, "--gain", 1.2, "-o", "out.mp4")
    after = contents(finished)
    assert {path: after[path] for path in before} == before, "nothing that was there is touched"
    assert {path.relative_to(finished).parts[0] for path in after.keys() - before} == {"apply", "synthesize", "encode"}


def test_second_target_reuses_the_sources_inversion(
    call: Call, finished: Path, source: Path, second_target: Path, quick: list[object]
) -> None:
    before = stages(finished)
    said = call("run", source, second_target, *quick, "-o", "out.mp4").err
    assert "target/invert" in said
    assert "source/" not in said
    new = {stage: len(keys - before[stage]) for stage, keys in stages(finished).items()}
    assert new == {
        **{"track": 1, "align": 1, "invert": 1, "decompose": 1, "rehearse": 1, "smooth": 0},
        **{"match": 1, "apply": 1, "synthesize": 1, "encode": 1},
    }  # fmt: skip


def test_until_stops_after_a_stage_and_says_where_its_results_are(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    done = call("run", source, face_picture, *quick, "--until", "align")
    folders = [Path(line) for line in done.out.splitlines()]
    assert [folder.parent.name for folder in folders] == ["align", "align"]
    assert all((folder / "crops.npy").is_file() for folder in folders)
    assert set(stages(tmp_path / "cache")) == {"track", "align"}
    done = call("run", source, face_picture, *quick, "--until", "source/align")
    assert len(done.out.splitlines()) == 1
    assert list(tmp_path.glob("*.mp4")) == []


def test_force_runs_a_stage_and_what_depends_on_it_again(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    command = ("run", source, face_picture, *quick, "-o", "out.mp4", "--force", "smooth")
    assert re.findall(r"^ +run +(\S+)", call("plan", *command[1:-4], "--force", "smooth").out, re.MULTILINE) == [
        "source/smooth", "match", "apply", "synthesize", "encode"
    ]  # fmt: skip
    before = contents(finished)
    call(*command)
    changed = {path.relative_to(finished).parts[0] for path, time in contents(finished).items() if before[path] != time}
    assert changed == {"smooth", "match", "apply", "synthesize", "encode"}


@pytest.mark.parametrize(("option", "stage"), [("--until", "smoth"), ("--force", "synthesise")])
def test_unknown_stage_is_answered_with_the_nearest(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], option: str, stage: str
) -> None:
    error = call("run", source, face_picture, *quick, "-o", "out.mp4", option, stage, code=1).error
    assert option in error
    assert {"smoth": "smooth", "synthesise": "synthesize"}[stage] in error


def test_only_the_layers_asked_for_move(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tiny_bundle: Path
) -> None:
    call("run", source, face_picture, *quick, "--layers", "0-1,3", "-o", "out.mp4")
    made = result(finished, source, face_picture, tiny_bundle, layers="0-1,3")
    moved = np.ptp(load_latents(made["apply"]).ws, axis=0).max(axis=1)
    assert (moved[[0, 1, 3]] > 0).all()
    assert (moved[[2, 4, 5]] == 0).all()


def test_damaged_result_is_made_again_and_said_aloud(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tiny_bundle: Path
) -> None:
    made = result(finished, source, face_picture, tiny_bundle)
    whole = (made["encode"] / "video.mp4").read_bytes()
    for label, name in (("encode", "video.mp4"), ("synthesize", "frames.npy")):
        with (made[label] / name).open("r+b") as file:
            file.truncate(100)
    assert "damaged" in call("plan", source, face_picture, *quick).out
    said = call("run", source, face_picture, *quick, "-o", "out.mp4").err
    assert "synthesize: the cached result is damaged ('frames.npy' has 100 bytes" in said
    assert "encode: the cached result is damaged" in said
    assert (made["encode"] / "video.mp4").read_bytes() == whole


def test_gain_zero_is_the_targets_own_reconstruction_in_every_frame(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object], tiny_bundle: Path
) -> None:
    call("run", source, face_picture, *quick, "--gain", 0, "-o", "out.mp4")
    made = result(finished, source, face_picture, tiny_bundle, gain=0.0)
    ws = load_identity(made["target/decompose"]).ws
    assert (load_latents(made["apply"]).ws == ws).all()
    with torch.no_grad():
        own = to_pictures(
            tuned_generator(str(tiny_bundle), "cpu", made["target/rehearse"]).synthesis(torch.from_numpy(ws)[None])
        )
    apart = np.abs(open_frames(made["synthesize"] / "frames.npy").astype(int) - own)
    assert apart.max() <= 1, "rounding at most"


def test_source_is_its_own_target(
    call: Call, finished: Path, source: Path, quick: list[object], tiny_bundle: Path, tmp_path: Path
) -> None:
    call("run", source, source, *quick, "--smooth", 0, "-o", "out.mp4")
    made = result(finished, source, source, tiny_bundle, smooth=0.0)
    assert made["source/invert"] == made["target/invert"]
    own, moved = load_latents(made["source/invert"]).ws, load_latents(made["apply"]).ws
    np.testing.assert_allclose(moved, own, atol=1e-5, err_msg="at gain 1 and unsmoothed, it is itself")
    assert probe(tmp_path / "out.mp4").num_frames == 10


def test_target_may_be_a_video_and_is_then_its_mean_face(
    call: Call, finished: Path, source: Path, face_frames: np.ndarray, quick: list[object], tiny_bundle: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    target = write_clip(tmp_path / "target.mp4", face_frames[4:8], Fraction(10))
    call("run", source, target, *quick, "-o", "out.mp4")
    made = result(finished, source, target, tiny_bundle)
    ws = load_latents(made["target/invert"]).ws
    assert len(ws) == 4
    np.testing.assert_allclose(load_identity(made["target/decompose"]).ws, ws.mean(0), atol=1e-6)
    assert probe(tmp_path / "out.mp4").num_frames == 10
    assert probe(tmp_path / "out.mp4").frame_rate == probe(source).frame_rate


def test_frozen_source_makes_a_frozen_result(
    call: Call, face_frames: np.ndarray, face_picture: Path, tmp_path: Path
) -> None:
    frozen = write_clip(tmp_path / "frozen.mp4", np.repeat(face_frames[:1], 8, axis=0))
    few = ("--set", "invert.first_steps=60", "--set", "invert.steps=10", "--set", "rehearse.passes=40")
    call("run", frozen, face_picture, *few, "--carry", 1, "-o", "out.mp4")  # a tenth of it would hide what codes do
    shown = pictures(tmp_path / "out.mp4").astype(np.float64)
    assert len(shown) == 8
    apart = np.abs(shown - shown[0]).mean(axis=(1, 2, 3))
    assert apart.max() < 0.3, f"of 255: {apart.round(2)}"


def test_frames_without_a_face_are_filled_and_said(
    call: Call, face_frames: np.ndarray, face_picture: Path, quick: list[object], tiny_bundle: Path, tmp_path: Path
) -> None:
    gap = face_frames.copy()
    gap[4:7] = 0
    clip = write_clip(tmp_path / "gap.mp4", gap)
    said = call("run", clip, face_picture, *quick, "-o", "out.mp4").err
    assert re.search(r"note: gap.mp4: no face in 3 of 10 frames \(4-6\)", said)
    assert "frames 4-6 are shots without any face and do not move" in said, "the cuts around black"
    made = result(tmp_path / "cache", clip, face_picture, tiny_bundle)
    latents = load_latents(made["source/invert"])
    assert np.isfinite(latents.ws).all()
    assert np.isnan(latents.loss).nonzero()[0].tolist() == [4, 5, 6]
    between = (latents.ws[3] + latents.ws[7]) / 2
    np.testing.assert_allclose(latents.ws[5], between, atol=1e-5)
    assert load_track(made["source/track"])[0].detected.sum() == 7
    assert probe(tmp_path / "out.mp4").num_frames == 10
    assert (
        "no face in 3 of 10 frames" in call("run", clip, face_picture, *quick, "-o", "out.mp4", "--force", "align").err
    )


def test_missing_face_is_an_error_where_that_is_asked_for(
    call: Call, face_frames: np.ndarray, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    gap = face_frames.copy()
    gap[4:7] = 0
    clip = write_clip(tmp_path / "gap.mp4", gap)
    error = call("run", clip, face_picture, *quick, "-o", "out.mp4", "--on-missing-face", "error", code=1).error
    assert "no face in 3 of 10 frames (first: 4)" in error
    assert "--on-missing-face interpolate" in error


def test_clip_with_hardly_any_face_is_an_error_that_names_the_way_on(
    call: Call, face_frames: np.ndarray, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    black = np.zeros((21, *face_frames.shape[1:]), np.uint8)
    black[:2] = face_frames[:2]
    clip = write_clip(tmp_path / "black.mp4", black)
    command = ("run", clip, face_picture, *quick, "-o", "out.mp4")
    error = call(*command, code=1).error
    assert "black.mp4: no face in 19 of 21 frames" in error
    assert "--on-missing-face ignore" in error
    assert len(stages(tmp_path / "cache")["track"]) == 2, "what was finished stays"
    assert not (tmp_path / "out.mp4").exists()
    on = call(*command, "--on-missing-face", "ignore")
    assert "/track " not in on.err
    assert probe(tmp_path / "out.mp4").num_frames == 21
