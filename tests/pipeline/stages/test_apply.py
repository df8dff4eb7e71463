"""A pose moves the target as its own picture moves, and one of another model's shape is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artefacts import load_latents, save_arrays, save_deltas, save_identity, save_rehearsal
from pipeline.stage import Job, SilentReporter
from pipeline.stages import apply, match, subspace
from reanimate.errors import ConfigError, MediaError
from reanimate.reading import SIZE
from reanimate.types import Identity, PoseDeltas, Rehearsal


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
    "values",
    [
        {"gain": 101.0},
        {"gain": -101.0},
        {"scale": -1.0},
        {"scale": 1e7},
        {"carry": -1.0},
        {"group_gains": (1.0, 1.0, 101.0)},
    ],
)
def test_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        apply.ApplyParams(**values)


def test_limit_holds_large_movements_and_leaves_the_identity(tmp_path: Path) -> None:
    job = make_job(tmp_path, (3, 4, 8), apply.ApplyParams(gain=90.0, limit=True))
    (tmp_path / "subspace").mkdir()
    arrays = {"directions": np.zeros((5, 8)), "covariance": np.eye(8), "bound": np.array([1.5])}
    save_arrays(tmp_path / "subspace" / subspace.FILE, arrays, subspace.MEASURED)
    limited = Job(job.params, {**job.inputs, "subspace": tmp_path / "subspace"}, job.folder, job.reporter, "cpu")
    apply.run(limited)
    moved = load_latents(job.folder).ws - 1
    assert 1.4 < np.sqrt(np.square(moved).mean(-1)).min() <= np.sqrt(np.square(moved).mean(-1)).max() < 1.6


def test_relative_motion_leaves_the_target_where_the_source_looks_like_it(tmp_path: Path) -> None:
    job = make_job(tmp_path, (3, 4, 8), apply.ApplyParams(reference="nearest"))
    deltas = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    yaws = np.array([[-40, 0, 0, 0, 0], [0, 0, 0, 0, 0], [40, 0, 0, 0, 0]], np.float32)
    save_deltas(tmp_path / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m", attributes=yaws))
    save_identity(tmp_path / "identity", Identity(np.ones((4, 8), np.float32), yaws[2]))
    apply.run(job)
    ws = load_latents(job.folder).ws
    np.testing.assert_allclose(ws[2], 1, atol=1e-3)
    assert np.abs(ws[1] - 1).max() > 0.1


ASKED = 1.5  # times what is wanted


def rehearsed_job(folder: Path, params: apply.ApplyParams) -> Job:
    """Three frames that turn by -10, 0 and 10 degrees, of a target whose code moves by its own when it turns."""
    job = make_job(folder, (3, 4, 8), params)
    moves = np.array([[-10, 0, 0, 1, 0], [0, 0, 0, 1, 0], [10, 0, 0, 1, 0]], np.float32)
    deltas = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    save_deltas(folder / "pose", PoseDeltas(deltas, 0.5, Fraction(25), "m", attributes=moves, moves=moves))
    (folder / "rehearsal").mkdir()
    poses = Rehearsal(
        attribute=np.array([0, 0]),
        shown=np.array([-20, 20], np.float32),
        rest=np.array([0, 0, 0, 1, 0], np.float32),
        offsets=np.stack([np.full((4, 8), -4.0), np.full((4, 8), 4.0)]).astype(np.float32),
        reader=np.zeros((5, SIZE), np.float32),
    )
    save_rehearsal(folder / "rehearsal", poses)
    (folder / "asked").mkdir()
    save_arrays(folder / "asked" / match.FILE, {"asked": moves.astype(np.float64) * ASKED}, match.MATCHED)
    inputs = {**job.inputs, "rehearsal": folder / "rehearsal", "asked": folder / "asked"}
    return Job(params, inputs, job.folder, job.reporter, "cpu")


def test_target_moves_as_its_own_picture_does(tmp_path: Path) -> None:
    job = rehearsed_job(tmp_path, apply.ApplyParams(carry=0.0))
    apply.run(job)
    expected = ASKED * np.array([-2.0, 0.0, 2.0])[:, None, None] + np.ones((3, 4, 8))
    np.testing.assert_allclose(load_latents(job.folder).ws, expected, atol=1e-6)


def test_what_moves_do_not_explain_is_carried_over_in_part(tmp_path: Path) -> None:
    made = {}
    for carry in (0.0, 1.0, 0.5):
        (tmp_path / str(carry)).mkdir()
        job = rehearsed_job(tmp_path / str(carry), apply.ApplyParams(carry=carry))
        apply.run(job)
        made[carry] = load_latents(job.folder).ws
    np.testing.assert_allclose(made[0.5], (made[0.0] + made[1.0]) / 2, atol=1e-5)
    rest = made[1.0] - made[0.0]
    assert np.abs(rest).max() > 0.1
    np.testing.assert_allclose(rest[2] - rest[0], 0, atol=1e-5, err_msg="along yaw there is nothing left")


def test_gain_is_that_of_the_targets_own_movements_too(tmp_path: Path) -> None:
    made = {}
    for gain in (0.0, 1.0, 3.0):
        (tmp_path / str(gain)).mkdir()
        job = rehearsed_job(tmp_path / str(gain), apply.ApplyParams(gain=gain))
        apply.run(job)
        made[gain] = load_latents(job.folder).ws - 1
    assert not made[0.0].any()
    np.testing.assert_allclose(made[3.0], 3 * made[1.0], atol=1e-5)


def test_without_rehearsal_codes_are_added_as_they_are(tmp_path: Path) -> None:
    job = rehearsed_job(tmp_path, apply.ApplyParams(rehearse=False))
    apply.run(job)
    deltas = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(load_latents(job.folder).ws, 1 + 0.5 * deltas, atol=1e-6)


def test_relative_motion_begins_at_the_targets_own_pose(tmp_path: Path) -> None:
    job = rehearsed_job(tmp_path, apply.ApplyParams(reference="nearest", carry=0.0))
    save_identity(tmp_path / "identity", Identity(np.ones((4, 8), np.float32), np.array([60, 0, 0, 0, 0], np.float32)))
    apply.run(job)
    np.testing.assert_allclose(load_latents(job.folder).ws[2], 1, atol=0.05, err_msg="the source looks like it there")
    np.testing.assert_allclose(
        load_latents(job.folder).ws[0], 1 - 4, atol=0.05, err_msg="no farther than it was rehearsed"
    )


def test_stages_are_fed_by_what_the_options_ask_for() -> None:
    assert apply.stage(apply.ApplyParams(rehearse=False)).inputs == ("identity", "pose")
    assert apply.stage(apply.ApplyParams()).inputs == ("identity", "pose", "rehearsal", "asked")
    assert apply.stage(apply.ApplyParams(limit=True)).inputs == ("identity", "pose", "rehearsal", "asked", "subspace")
