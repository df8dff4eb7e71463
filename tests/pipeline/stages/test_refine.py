"""What the inversion lost is put back, as far as it is known; a model without faces cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from pipeline.artefacts import load_deltas, save_arrays, save_deltas, save_latents, save_track
from pipeline.stage import Job, SilentReporter
from pipeline.stages import refine, subspace
from reanimate.calibration import Seen
from reanimate.types import FaceTrack, Latents, PoseDeltas, UInt8, VideoInfo

FRAMES = 24


def make_job(folder: Path, bundle: Path, params: dict[str, float]) -> Job:
    rng = np.random.default_rng(0)
    for name in ("pose", "latents", "track", "subspace", "out"):
        (folder / name).mkdir()
    shown = np.zeros((FRAMES, 4), np.float32)
    shown[:, 0] = 10 * np.sin(np.arange(FRAMES))
    shown[5] = np.nan
    deltas = rng.normal(size=(FRAMES, 6, 8)).astype(np.float32)
    save_deltas(folder / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m", attributes=shown))
    save_latents(folder / "latents", Latents(deltas, np.zeros(FRAMES, np.float32), Fraction(25)))
    found = FaceTrack(
        np.isfinite(shown[:, 0]), np.zeros((FRAMES, 68, 2), np.float32), np.ones((FRAMES, 4, 2), np.float32),
        np.arange(FRAMES) == 0,
    )  # fmt: skip
    save_track(folder / "track", found, VideoInfo(64, 64, FRAMES, Fraction(25), has_audio=False))
    arrays = {"directions": np.eye(8)[:4], "covariance": np.eye(8), "bound": np.array([1.0])}
    save_arrays(folder / "subspace" / subspace.FILE, arrays, subspace.MEASURED)
    given = refine.RefineStageParams(**params, model_digest="m", model=str(bundle))
    inputs = {name: folder / name for name in ("pose", "latents", "track", "subspace")}
    return Job(given, inputs, folder / "out", SilentReporter(), "cpu")


@pytest.mark.parametrize(("share", "regain"), [(0.25, 1.0), (0.25, 2.0), (1.0, 1.0)])
def test_lost_movement_comes_back_along_the_models_direction(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, share: float, regain: float
) -> None:
    job = make_job(tmp_path, tiny_bundle, {"regain": regain})
    before = load_deltas(job.inputs["pose"])
    assert before.attributes is not None
    yaw = before.attributes[:, 0]
    looked = iter(np.array_split(share * np.nan_to_num(yaw), FRAMES // refine.BATCH))

    def look(pictures: UInt8, *, who: bool = False) -> Seen:
        return Seen(np.column_stack([next(looked), np.zeros((len(pictures), 3))]), np.zeros((len(pictures), 128)))

    monkeypatch.setattr(refine, "look_at", look)
    refine.run(job)
    added = 0.5 * (load_deltas(job.folder).deltas - before.deltas)
    known = np.isfinite(yaw)
    assert np.abs(added[..., 1:]).max() < 1e-5, "yaw alone was lost"
    centred = yaw[known] - yaw[known].mean()
    slope = float((added[known, 0, 0] - added[known, 0, 0].mean()) @ centred / (centred @ centred))
    assert slope == pytest.approx(regain * (1 - share), abs=0.04)


def test_shrinking_alone_looks_at_no_picture(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refine, "look_at", None)
    job = make_job(tmp_path, tiny_bundle, {"shrink": 1.0})
    refine.run(job)
    before, after = load_deltas(job.inputs["pose"]), load_deltas(job.folder)
    assert np.abs(after.deltas[..., 4:]).max() < 1e-6 < np.abs(after.deltas[..., :4]).min()
    assert after.scale == before.scale


@pytest.mark.parametrize("option", [("--regain", 1), ("--shrink", 0.5), ("--limit",)])
def test_model_that_makes_no_faces_says_so(
    call: Callable[..., Done], finished: Path, source: Path, face_picture: Path, quick: list[object],
    monkeypatch: pytest.MonkeyPatch, option: tuple[object, ...],
) -> None:  # fmt: skip
    def blind(pictures: UInt8, *, who: bool = False) -> Seen:
        return Seen(np.full((len(pictures), 4), np.nan), np.full((len(pictures), 128), np.nan))

    monkeypatch.setattr(subspace, "look_at", blind)
    error = call("run", source, face_picture, *quick, *option, "-o", "out.mp4", code=1).error
    assert "hardly any of its pictures shows a face" in error and "--regain" in error
