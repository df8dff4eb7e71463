"""Progress on the terminal: a bar with the time left where there is a screen, a line per stage where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any

import click


class TerminalReporter:
    """Draws what stages report, on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._label, self._started, self._total, self._done = "", 0.0, 0, 0
        self._spoken: set[str] = set()

    def start(self, label: str, total: int, done: int = 0) -> None:
        """A bar begins; what was done before counts as done but not as time."""
        self._label, self._started, self._total, self._done = label, time.monotonic(), total, done
        if done:
            self.say(f"{label}: going on from frame {done} of {total}")
        if sys.stderr.isatty():
            self._bar = click.progressbar(
                length=total - done, label=f"{label:>22}", file=sys.stderr, show_eta=True, show_pos=True,
                item_show_func=lambda note: note or "", update_min_steps=max(1, total // 200),
            )  # fmt: skip
            self._bar.__enter__()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """The bar grows."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps, note)

    def finish(self) -> None:
        """The bar is closed, and its time said."""
        seconds = time.monotonic() - self._started
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
        else:
            click.echo(f"{self._label:>22}  {self._done} of {self._total} in {seconds:.1f} s", err=True)

    def say(self, message: str) -> None:
        """A remark, once."""
        if message not in self._spoken:
            self._spoken.add(message)
            click.echo(f"note: {message}", err=True)
