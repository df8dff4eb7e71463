"""Inversion of a clip: no frame starts across a cut, missing faces cost nothing, a kill costs one frame."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artefacts import load_latents, save_track
from pipeline.stage import Job, SilentReporter
from pipeline.stages import invert
from pipeline.streams import FrameWriter
from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import to_pictures, to_tensor
from reanimate.inversion import segments
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.types import FaceTrack, VideoInfo

FRAMES = 6


class Stopper(SilentReporter):
    """Interrupts after some frames, and remembers how far it was told that the work had come before."""

    def __init__(self, after: int = 1000) -> None:
        self.after, self.done = after, -1

    def start(self, label: str, total: int, done: int = 0) -> None:
        self.done = done

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.after -= bool(steps)
        if self.after == 0:
            raise KeyboardInterrupt


@pytest.fixture
def crops(tiny_bundle: Path) -> np.ndarray:
    """[6, 16, 16, 3] random pictures of the tiny model."""
    generator = load_bundle(str(tiny_bundle)).generator
    z = torch.randn(FRAMES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return to_pictures(generator.synthesis(generator.mapping(z)))


def make_job(
    folder: Path, bundle: Path, crops: np.ndarray, reporter: SilentReporter | None = None,
    missing: tuple[int, ...] = (), cuts: tuple[int, ...] = (), **settings: Any,
) -> Job:  # fmt: skip
    for name in ("track", "crops", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    count = len(crops)
    detected = np.array([t not in missing for t in range(count)])
    is_cut = np.array([t == 0 or t in cuts for t in range(count)])
    landmarks = np.zeros((count, 68, 2), np.float32)
    track = FaceTrack(detected, landmarks, np.zeros((count, 4, 2), np.float32), is_cut)
    save_track(folder / "track", track, VideoInfo(16, 16, count, Fraction(25), has_audio=False))
    with FrameWriter(folder / "crops" / "crops.npy", count, 16) as writer:
        for crop in crops:
            writer.write(crop)
    chosen = InvertParams(**{"first_steps": 6, "steps": 3, **settings})
    params = invert.InvertStageParams(**asdict(chosen), model_digest="", model=str(bundle))
    inputs = {"track": folder / "track", "crops": folder / "crops"}
    return Job(params, inputs, folder / "out", reporter or SilentReporter(), "cpu")


def test_one_code_and_loss_a_frame(tmp_path: Path, tiny_bundle: Path, crops: np.ndarray) -> None:
    job = make_job(tmp_path, tiny_bundle, crops)
    invert.run(job)
    latents = load_latents(job.folder)
    assert latents.ws.shape == (FRAMES, 6, 8)
    assert np.isfinite(latents.loss).all()
    assert latents.frame_rate == 25
    assert sorted(path.name for path in job.folder.iterdir()) == ["latents.json", "latents.npz"], "and no log"


@pytest.mark.parametrize("optimiser", ["curvature", "adam"])
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_is_uninterrupted_bit_for_bit(
    tmp_path: Path, tiny_bundle: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch, after: int, lanes: int,
    optimiser: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(segments, "SHORTEST", 1)  # so that a clip this short has four runs
    clip = np.concatenate([crops, crops[::-1], crops])
    options: dict[str, Any] = {"missing": (2,), "cuts": (4,), "lanes": lanes, "optimiser": optimiser}
    whole = make_job(tmp_path / "whole", tiny_bundle, clip, **options)
    invert.run(whole)
    with pytest.raises(KeyboardInterrupt):
        invert.run(make_job(tmp_path / "cut", tiny_bundle, clip, Stopper(after), **options))
    watcher = Stopper()
    job = make_job(tmp_path / "cut", tiny_bundle, clip, watcher, **options)
    invert.run(job)
    assert watcher.done >= after * min(lanes, 2), "what was solved is not solved again"
    assert (job.folder / "latents.npz").read_bytes() == (whole.folder / "latents.npz").read_bytes()
    assert not {path.name for path in job.folder.iterdir()} & {invert.LOG, invert.MEMORY}


def test_torn_record_costs_its_own_frame_only(tmp_path: Path, tiny_bundle: Path, crops: np.ndarray) -> None:
    with pytest.raises(KeyboardInterrupt):
        invert.run(make_job(tmp_path, tiny_bundle, crops, Stopper(4)))
    log = tmp_path / "out" / invert.LOG
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 5)
    watcher = Stopper()
    invert.run(make_job(tmp_path, tiny_bundle, crops, watcher))
    assert watcher.done == 3


def test_frame_without_a_face_is_drawn_between_its_neighbours(
    tmp_path: Path, tiny_bundle: Path, crops: np.ndarray
) -> None:
    job = make_job(tmp_path, tiny_bundle, crops, missing=(0, 3))
    invert.run(job)
    latents = load_latents(job.folder)
    assert np.flatnonzero(np.isnan(latents.loss)).tolist() == [0, 3]
    np.testing.assert_array_equal(latents.ws[0], latents.ws[1])
    np.testing.assert_allclose(latents.ws[3], (latents.ws[2] + latents.ws[4]) / 2, atol=1e-5)


@pytest.mark.parametrize("warm_start", [True, False])
def test_first_frame_of_a_shot_starts_afresh(
    tmp_path: Path, tiny_bundle: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch, warm_start: bool
) -> None:
    started: list[str] = []
    first, following = Inverter.first, Inverter.next
    monkeypatch.setattr(Inverter, "first", lambda *a, **k: started.extend(["first"] * len(a[1])) or first(*a, **k))
    monkeypatch.setattr(Inverter, "next", lambda *a, **k: started.extend(["next"] * len(a[1])) or following(*a, **k))
    invert.run(make_job(tmp_path, tiny_bundle, crops, missing=(3,), cuts=(3,), warm_start=warm_start, init="mean"))
    warm = ["first", "first", "next", "next", "next"]  # frame 3, the cut, has no face: frame 4 is the shot's first
    assert started == (warm if warm_start else ["first"] * 5)


def test_frames_of_a_shot_share_an_offset_from_the_encoder_and_no_other_shot_does(
    tmp_path: Path, tiny_bundle: Path, crops: np.ndarray
) -> None:
    job = make_job(tmp_path, tiny_bundle, crops, cuts=(3,), steps=0)
    invert.run(job)
    encoder = load_bundle(str(tiny_bundle)).encoder
    assert encoder is not None
    with torch.no_grad():
        offsets = load_latents(job.folder).ws - encoder(to_tensor(crops)).numpy()
    np.testing.assert_allclose(offsets[:3], offsets[:1].repeat(3, 0), atol=1e-5)
    np.testing.assert_allclose(offsets[3:], offsets[3:4].repeat(3, 0), atol=1e-5)
    assert np.abs(offsets[0] - offsets[3]).max() > 0.01


def test_lanes_solve_runs_of_a_shot_side_by_side(
    tmp_path: Path, tiny_bundle: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SHORTEST", 1)
    sizes: list[int] = []
    first, following = Inverter.first, Inverter.next
    monkeypatch.setattr(Inverter, "first", lambda *a, **k: sizes.append(len(a[1])) or first(*a, **k))
    monkeypatch.setattr(Inverter, "next", lambda *a, **k: sizes.append(len(a[1])) or following(*a, **k))
    invert.run(make_job(tmp_path, tiny_bundle, crops, lanes=3, init="mean"))
    assert sizes == [3, 3], "three key frames, then the frame after each"


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_every_space_ends_as_codes_per_layer(tmp_path: Path, tiny_bundle: Path, crops: np.ndarray, space: str) -> None:
    job = make_job(tmp_path, tiny_bundle, crops[:2], space=space, init="mean")
    invert.run(job)
    ws = load_latents(job.folder).ws
    assert ws.shape == (2, 6, 8)
    if space != "w+":
        assert np.ptp(ws, axis=1).max() == 0, "one code for all layers"
