"""Whether scores tell faces from other pictures, measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conftest import Done

from pipeline.commands.bench_score import _exchange, _higher

Call = Callable[..., Done]


def test_every_kind_is_scored(call: Call, face_picture: Path, second_target: Path, quick: list[object]) -> None:
    Path("people").mkdir()
    for path in (face_picture, second_target):
        shutil.copy(path, "people")
    done = call("bench", "score", "people", *quick, "--others", "people", "--json")
    rows = json.loads(done.out)["rows"]
    assert [row["kind"] for row in rows] == [
        "faces", "upside down", "tiles exchanged", "corners of photographs", "other pictures"
    ]  # fmt: skip
    assert {row["pictures"] for row in rows} == {2}
    assert (rows[0]["higher"], rows[0]["higher_share"]) == (0.5, 0.5)
    out = call("bench", "score", "people", *quick).out
    assert f"| upside down | 2 | {rows[1]['mean']:.4f} |" in out


def test_share_is_of_pairs() -> None:
    faces = np.array([1.0, 2.0])
    assert _higher(np.array([3.0, 4.0]), faces) == 1
    assert _higher(np.array([0.0]), faces) == 0
    assert _higher(np.array([1.5, 2.0]), faces) == 0.625


def test_exchanged_tiles_are_the_same_pixels() -> None:
    face = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    mixed = _exchange(face, np.random.default_rng(1).permutation(16))
    assert (mixed != face).any()
    np.testing.assert_array_equal(np.sort(mixed.ravel()), np.sort(face.ravel()))
    np.testing.assert_array_equal(_exchange(face, np.arange(16)), face)
