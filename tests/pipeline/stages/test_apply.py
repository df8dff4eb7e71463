"""A pose of another model's shape is refused, whatever its file claims."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artefacts import load_latents, save_arrays, save_deltas, save_identity
from pipeline.stage import Job, SilentReporter
from pipeline.stages import apply, subspace
from reanimate.errors import ConfigError, MediaError
from reanimate.types import Identity, PoseDeltas


def make_job(folder: Path, shape: tuple[int, int, int], params: apply.ApplyParams) -> Job:
    for name in ("identity", "pose", "out"):
        (folder / name).mkdir()
    deltas = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    save_identity(folder / "identity", Identity(np.ones((4, 8), np.float32)))
    save_deltas(folder / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m"))
    inputs = {"identity": folder / "identity", "pose": folder / "pose"}
    return Job(params, inputs, folder / "out", SilentReporter(), "cpu")


def test_pose_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="numbers a frame"):
        apply.run(make_job(tmp_path, (3, 5, 8), apply.ApplyParams()))


def test_moved_by_gain_times_scale_on_the_chosen_layers(tmp_path: Path) -> None:
    job = make_job(tmp_path, (3, 4, 8), apply.ApplyParams(gain=2.0, layers=(1,), scale=0.1))
    apply.run(job)
    moved = load_latents(job.folder).ws - 1
    deltas = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(moved[:, 1], 0.2 * deltas[:, 1], rtol=1e-5, atol=1e-6)
    assert (moved[:, [0, 2, 3]] == 0).all()


@pytest.mark.parametrize(
    "values", [{"gain": 101.0}, {"gain": -101.0}, {"scale": -1.0}, {"scale": 1e7}, {"group_gains": (1.0, 1.0, 101.0)}]
)
def test_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        apply.ApplyParams(**values)


def test_limit_holds_large_movements_and_leaves_the_identity(tmp_path: Path) -> None:
    job = make_job(tmp_path, (3, 4, 8), apply.ApplyParams(gain=90.0, limit=True))
    (tmp_path / "subspace").mkdir()
    arrays = {"directions": np.zeros((4, 8)), "covariance": np.eye(8), "bound": np.array([1.5])}
    save_arrays(tmp_path / "subspace" / subspace.FILE, arrays, subspace.MEASURED)
    limited = Job(job.params, {**job.inputs, "subspace": tmp_path / "subspace"}, job.folder, job.reporter, "cpu")
    apply.run_limited(limited)
    moved = load_latents(job.folder).ws - 1
    assert 1.4 < np.sqrt(np.square(moved).mean(-1)).min() <= np.sqrt(np.square(moved).mean(-1)).max() < 1.6


def test_relative_motion_leaves_the_target_where_the_source_looks_like_it(tmp_path: Path) -> None:
    job = make_job(tmp_path, (3, 4, 8), apply.ApplyParams(reference="nearest"))
    deltas = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    yaws = np.array([[-40, 0, 0, 0], [0, 0, 0, 0], [40, 0, 0, 0]], np.float32)
    save_deltas(tmp_path / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m", attributes=yaws))
    save_identity(tmp_path / "identity", Identity(np.ones((4, 8), np.float32), yaws[2]))
    apply.run(job)
    ws = load_latents(job.folder).ws
    np.testing.assert_allclose(ws[2], 1, atol=1e-3)
    assert np.abs(ws[1] - 1).max() > 0.1
