"""The cache can be looked at, checked and emptied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Done, stages

Call = Callable[..., Done]


def test_list_shows_every_result_and_the_sum(call: Call, finished: Path) -> None:
    lines = call("cache", "list").out.splitlines()
    assert len(lines) - 1 == sum(len(keys) for keys in stages(finished).values()) == 14
    assert all(line.endswith("complete") for line in lines[:-1])
    assert lines[-1].endswith(f"MiB in {finished}")


def test_empty_cache_is_no_error(call: Call, tmp_path: Path) -> None:
    assert call("cache", "list").out == f"0.0 MiB in {tmp_path / 'cache'}\n"
    assert call("cache", "verify").out == ""
    assert call("cache", "clean").out.startswith("0 removed")
    assert not (tmp_path / "cache").exists()


def test_verify_finds_what_a_size_does_not_tell(call: Call, finished: Path) -> None:
    assert "damaged" not in call("cache", "verify").out
    (frames,) = finished.glob("synthesize/*/frames.npy")
    data = bytearray(frames.read_bytes())
    data[-1] ^= 1
    frames.write_bytes(data)
    done = call("cache", "verify", code=1)
    assert "1 damaged; they are rebuilt when they are needed" in done.error
    assert [line.split()[0] for line in done.out.splitlines() if line.endswith("damaged")] == ["synthesize"]


def test_clean_removes_the_interrupted_and_the_damaged_only(call: Call, finished: Path) -> None:
    (frames,) = finished.glob("synthesize/*/frames.npy")
    frames.unlink()
    (finished / "invert" / f"{'0' * 64}.partial").mkdir()
    before = stages(finished)
    assert call("cache", "clean").out.startswith("2 removed, ")
    before.pop("synthesize")
    assert stages(finished) == before
    assert not list(finished.glob("*/*.partial"))


def test_clean_by_age_and_all(call: Call, finished: Path) -> None:
    assert call("cache", "clean", "--unused-for", 1).out.startswith("0 removed")
    assert call("cache", "clean", "--all").out.startswith("14 removed")
    assert stages(finished) == {}


@pytest.mark.parametrize("days", ["-1", "soon"])
def test_bad_age_is_one_line_and_removes_nothing(call: Call, finished: Path, days: str) -> None:
    assert "--unused-for" in call("cache", "clean", "--unused-for", days, code=1).error
    assert len(stages(finished)["invert"]) == 2


def test_folder_can_be_named(call: Call, finished: Path, tmp_path: Path) -> None:
    assert call("cache", "list", "--cache-dir", tmp_path / "other").out.startswith("0.0 MiB")
