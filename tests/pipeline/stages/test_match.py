"""Movements are asked for until they are seen."""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artefacts import save_deltas, save_identity, save_rehearsal
from pipeline.graph import open_model
from pipeline.stage import Job, SilentReporter
from pipeline.stages import match
from reanimate.calibration import draw, look_at
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError
from reanimate.images import to_pictures
from reanimate.moves import rehearsed
from reanimate.reading import learn
from reanimate.types import Float64, Identity, PoseDeltas, Rehearsal


@pytest.fixture(scope="module")
def turning() -> tuple[Identity, Rehearsal]:
    """A drawn face, and codes by which it turns 20 degrees to both sides."""
    generator = load_bundle("faces").generator
    ws = draw(generator, 24)
    with torch.no_grad():
        seen = look_at(to_pictures(torch.cat([generator.synthesis(some) for some in ws.split(8)]))).expression
    known = np.flatnonzero(np.isfinite(seen).all(1))
    at = torch.from_numpy(known)
    yaw = torch.from_numpy(seen[known, 0] - seen[known, 0].mean()).float()
    slope = torch.einsum("n,nld->ld", yaw, ws[at] - ws[at].mean(0)) / yaw.square().sum()
    shown = np.array([-20, 20], np.float32)
    offsets = (torch.from_numpy(shown)[:, None, None] * slope).numpy()
    rest = np.array([0, 0, 0, 1, 0], np.float32)
    middle, known_yaw = ws[at].mean(0), torch.linspace(-20, 20, 21)
    with torch.no_grad():
        taught = torch.cat([generator.synthesis(middle + yaw * slope[None]) for yaw in known_yaw])
    moves = np.tile(rest, (21, 1))
    moves[:, 0] = known_yaw
    reader = learn(to_pictures(taught), moves)
    return Identity(middle.numpy()), Rehearsal(np.zeros(2, np.int64), shown, rest, offsets, reader)


def asked(folder: Path, turning: tuple[Identity, Rehearsal], moves: Float64 | None, rounds: int) -> Float64:
    identity, rehearsal = turning
    for name in ("identity", "pose", "rehearsal", "out"):
        (folder / name).mkdir(parents=True)
    save_identity(folder / "identity", identity)
    save_rehearsal(folder / "rehearsal", rehearsal)
    wanted = None if moves is None else moves.astype(np.float32)
    deltas = np.zeros((20, *identity.ws.shape), np.float32)
    save_deltas(folder / "pose", PoseDeltas(deltas, 0.0, Fraction(25), "m", moves=wanted))
    model = open_model("faces")
    params = match.MatchStageParams(
        **asdict(match.MatchParams(rounds=rounds)), model_digest=model.card.digest, model=str(model.folder)
    )
    inputs = {name: folder / name for name in ("identity", "pose", "rehearsal")}
    job = Job(params, inputs, folder / "out", SilentReporter(), "cpu")
    match.run(job)
    return match.load_asked(job.folder)


def shown(turning: tuple[Identity, Rehearsal], moves: Float64) -> Float64:
    identity, rehearsal = turning
    codes = torch.from_numpy(identity.ws + rehearsed(rehearsal, moves)).float()
    generator = load_bundle("faces").generator
    with torch.no_grad():
        return look_at(to_pictures(torch.cat([generator.synthesis(some) for some in codes.split(8)]))).expression[:, 0]


def test_what_is_asked_for_is_seen(turning: tuple[Identity, Rehearsal], tmp_path: Path) -> None:
    moves = np.zeros((20, 5))
    moves[:, 0], moves[:, 3] = 6 * np.sin(np.arange(20) / 20 * 2 * np.pi), 1
    identity, rehearsal = turning
    halved = identity, replace(rehearsal, shown=2 * rehearsal.shown)  # it turns half as far as its poses say

    def error(rounds: int) -> float:
        seen = shown(halved, asked(tmp_path / str(rounds), halved, moves, rounds))
        return float(np.abs(seen - seen.mean() - moves[:, 0]).mean())

    assert error(3) < 0.6 * error(0)


def test_without_rounds_what_is_wanted_is_asked_for(turning: tuple[Identity, Rehearsal], tmp_path: Path) -> None:
    moves = np.random.default_rng(0).normal(size=(20, 5))
    np.testing.assert_allclose(asked(tmp_path, turning, moves, 0), moves, atol=1e-5)


def test_pose_without_moves_asks_for_nothing(turning: tuple[Identity, Rehearsal], tmp_path: Path) -> None:
    assert not asked(tmp_path, turning, None, 2).any()


@pytest.mark.parametrize("values", [{"rounds": -1}, {"rounds": 101}])
def test_out_of_range_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        match.MatchParams(**values)  # type: ignore[arg-type]
