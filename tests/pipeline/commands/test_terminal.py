"""Progress where there is no screen: a line per stage, one now and then in between, and nothing to break a log."""

from __future__ import annotations

import pytest

from pipeline.commands import terminal
from pipeline.commands.terminal import TerminalReporter, duration


def test_line_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter()
    reporter.start("source/track", 3)
    for _ in range(3):
        reporter.advance()
    reporter.finish()
    assert capsys.readouterr().err.endswith("source/track  3 of 3 in 0.0 s\n")


def test_long_stage_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    reporter = TerminalReporter()
    reporter.start("source/invert", 100, done=10)
    for _ in range(90):
        now += 10
        reporter.advance(note="loss 0.1")
    reporter.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "note: source/invert: going on from frame 10 of 100"
    assert lines[1].strip() == "source/invert  13 of 100, 14 min left, loss 0.1"
    assert len(lines) == 1 + 29 + 1, "every half minute, and at the end"
    assert lines[-1].strip() == "source/invert  100 of 100 in 15 min"


def test_time_left_is_guessed_from_steps_alone_and_only_once_there_are_any(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    reporter = TerminalReporter()
    reporter.start("source/invert", 200)
    for steps, seconds in ((0, 60), (8, 40)):
        now += seconds
        reporter.advance(steps, "loss 0.2")
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines == ["source/invert  0 of 200, loss 0.2", "source/invert  8 of 200, 16 min left, loss 0.2"]


def test_remark_is_said_once_and_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter()
    for _ in range(2):
        reporter.say("clip\n.mp4: no face\x1b[2J")
    assert capsys.readouterr().err == "note: clip .mp4: no face?[2J\n"


def test_screen_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    reporter = TerminalReporter()
    reporter.start("source/track", 4, done=2)
    reporter.advance(2, "found")
    reporter.finish()
    assert "source/track" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
