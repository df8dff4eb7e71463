"""`plan` says what and why, and leaves everything as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conftest import Done

Call = Callable[..., Done]


def snapshot(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*")}


def labels(plan: str) -> list[str]:
    return [line.split()[1] for line in plan.splitlines() if line.split()[0] in ("run", "cached")]


def test_empty_cache_is_planned_clip_by_clip_and_not_created(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path
) -> None:
    said = call("plan", source, face_picture, *quick).out
    clip = ["track", "align", "invert", "decompose"]
    target, performer = (
        [f"{who}/{s}" for s in [*clip, last]] for who, last in (("target", "rehearse"), ("source", "smooth"))
    )
    assert labels(said) == [*target, *performer, "match", "apply", "synthesize", "encode"]
    assert said.count("not made yet") == 14
    assert "(30 poses, at most 8 passes)" in said
    assert "(10 frames, at most 40 passes)" in said, "5 in each of the 4 that show what is shared, 2 in every frame"
    assert "(1 frames" not in said
    assert "(1 frame, at most 5 passes)" in said, "a still shares with nobody"
    assert "10 frames; at most about " in said.splitlines()[-1]
    assert said.splitlines()[-1].endswith("on cpu") or "cuda" in said
    assert not (tmp_path / "cache").exists()


def test_what_options_add_is_planned_too(call: Call, source: Path, face_picture: Path, quick: list[object]) -> None:
    said = labels(call("plan", source, face_picture, *quick, "--shrink", 0.5, "--limit").out)
    assert said[-5:] == ["model/subspace", "match", "apply", "synthesize", "encode"]
    assert said.index("source/refine") == said.index("source/smooth") - 1


def test_reasons_stand_in_one_column(call: Call, source: Path, face_picture: Path, quick: list[object]) -> None:
    said = call("plan", source, face_picture, *quick).out
    assert len({line.index("not made yet") for line in said.splitlines() if "not made yet" in line}) == 1
    assert not any(line.endswith(" ") for line in said.splitlines())


def test_finished_work_is_said_to_be_finished(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    before = snapshot(finished)
    said = call("plan", source, face_picture, *quick).out
    assert said.splitlines()[-1] == "nothing to do: every stage is in the cache"
    assert labels(said) == ["encode"]
    assert snapshot(finished) == before


def test_change_is_planned_with_its_reason_and_nothing_is_touched(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    before = snapshot(finished)
    said = call("plan", source, face_picture, *quick, "--gain", 1.2, "--smooth", 0.2).out
    assert "gain 1.0 → 1.2" in said
    assert [label for label in labels(said) if label.startswith("source/")] == [
        "source/track", "source/decompose", "source/smooth"
    ]  # fmt: skip
    assert "seconds 0.12 → 0.2" in said
    assert labels(said)[-3:] == ["apply", "synthesize", "encode"]
    assert snapshot(finished) == before


def test_until_and_force_are_planned(
    call: Call, finished: Path, source: Path, face_picture: Path, quick: list[object]
) -> None:
    assert labels(call("plan", source, face_picture, *quick, "--until", "invert").out) == [
        "target/invert", "source/invert"
    ]  # fmt: skip
    said = call("plan", source, face_picture, *quick, "--force", "source/smooth").out
    assert "forced" in said
    assert "source/smooth runs again" in said


def test_plan_of_what_cannot_run_is_the_same_error(call: Call, face_picture: Path, quick: list[object]) -> None:
    assert "still picture" in call("plan", face_picture, face_picture, *quick, code=1).error
    assert "no such file" in call("plan", "nothing.mp4", face_picture, *quick, code=1).error
