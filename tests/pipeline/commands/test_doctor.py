"""The doctor names what is missing, and only then complains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Done

from reanimate.errors import ReanimateError

Call = Callable[..., Done]


def test_healthy_machine(call: Call, tmp_path: Path) -> None:
    done = call("doctor")
    assert "MISSING" not in done.out
    assert f"cache: {tmp_path / 'cache'}" in done.out
    assert "device" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("reanimate.faces.detect.model_file", "landmarks"),
        ("reanimate.video.find_ffmpeg", "ffmpeg program"),
        ("reanimate.checkpoints.bundle.load_bundle", "model faces"),
    ],
)
def test_what_is_missing_is_named(call: Call, monkeypatch: pytest.MonkeyPatch, function: str, name: str) -> None:
    def gone(*_: object) -> None:
        raise ReanimateError("gone; install it with: pip install it")

    monkeypatch.setattr(function, gone)
    done = call("doctor", code=1)
    assert f" MISSING  {name}: gone; install it with: pip install it\n" in done.out
    assert done.error.startswith(f"error: missing: {name}; ")
    assert done.out.count("MISSING") == 1, "the rest is checked all the same"


def test_missing_module_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    assert "missing: lpips;" in call("doctor", code=1).error


def test_cache_that_cannot_be_written_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert "missing: cache;" in call("doctor", code=1).error
