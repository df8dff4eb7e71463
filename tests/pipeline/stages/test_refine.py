"""A performance is drawn towards poses, as far as they are known; a model without faces cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Done

from pipeline.artefacts import load_deltas, save_arrays, save_deltas
from pipeline.stage import Job, SilentReporter
from pipeline.stages import refine, subspace
from reanimate.calibration import Seen
from reanimate.types import PoseDeltas, UInt8


def test_shrinking_keeps_the_directions_of_poses(tmp_path: Path) -> None:
    for name in ("pose", "subspace", "out"):
        (tmp_path / name).mkdir()
    deltas = np.random.default_rng(0).normal(size=(24, 6, 8)).astype(np.float32)
    save_deltas(tmp_path / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m"))
    arrays = {"directions": np.eye(8)[:5], "covariance": np.eye(8), "bound": np.array([1.0])}
    save_arrays(tmp_path / "subspace" / subspace.FILE, arrays, subspace.MEASURED)
    inputs = {name: tmp_path / name for name in ("pose", "subspace")}
    refine.run(Job(refine.RefineParams(shrink=1.0), inputs, tmp_path / "out", SilentReporter(), "cpu"))
    after = load_deltas(tmp_path / "out")
    assert np.abs(after.deltas[..., 5:]).max() < 1e-6 < np.abs(after.deltas[..., :5]).min()
    assert after.scale == 0.5


@pytest.mark.parametrize("option", [("--shrink", 0.5), ("--limit",)])
def test_model_that_makes_no_faces_says_so(
    call: Callable[..., Done], finished: Path, source: Path, face_picture: Path, quick: list[object],
    monkeypatch: pytest.MonkeyPatch, option: tuple[object, ...],
) -> None:  # fmt: skip
    def blind(pictures: UInt8, *, who: bool = False) -> Seen:
        return Seen(np.full((len(pictures), 5), np.nan), np.full((len(pictures), 128), np.nan))

    monkeypatch.setattr(subspace, "look_at", blind)
    error = call("run", source, face_picture, *quick, *option, "-o", "out.mp4", code=1).error
    assert "hardly any of its pictures shows a face" in error and "--shrink" in error
