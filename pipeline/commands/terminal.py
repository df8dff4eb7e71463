"""What goes to the terminal: a bar where there is a screen, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

QUIET = 30.0  # seconds without a screen after which a line says how far it is


def print_path(path: Path) -> None:
    """A file that was written, on stdout; a name that is not text is shown as well as it can be."""
    click.echo(click.format_filename(path))


def print_error(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    click.echo(f"error: {one_line(message)}", err=True)


def table_head(columns: Sequence[object]) -> str:
    """The first two lines of a table in Markdown."""
    return f"{table_row(columns)}\n|{'---|' * len(columns)}"


def table_row(cells: Sequence[object]) -> str:
    """One more line of it."""
    return f"| {' | '.join(map(str, cells))} |"


def one_line(text: str) -> str:
    """Text that a file's name or a card may be part of, without line breaks or commands to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


@contextmanager
def counted(path: Path, passes: int) -> Iterator[Callable[[], None]]:
    """What to call after every pass over a picture, while a bar grows."""
    with click.progressbar(length=passes, label=one_line(path.name), file=sys.stderr) as bar:
        yield lambda: bar.update(1)


class TerminalReporter:
    """Draws what stages report, on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._label, self._started, self._total, self._done, self._before = "", 0.0, 0, 0, 0
        self._paced = 0.0  # when what takes its share of every step began
        self._spoke = 0.0
        self._spoken: set[str] = set()

    def start(self, label: str, total: int, done: int = 0) -> None:
        """A bar begins; what was done before counts as done but not as time."""
        self._label, self._total, self._done, self._before = label, total, done, done
        self._started = self._paced = self._spoke = time.monotonic()
        if done:
            self.say(f"{label}: going on from frame {done} of {total}")
        if sys.stderr.isatty():
            self._bar = click.progressbar(
                length=total - done, label=f"{label:>22}", file=sys.stderr, show_eta=True, show_pos=True,
                item_show_func=lambda note: note or "", update_min_steps=max(1, total // 200),
            )  # fmt: skip
            self._bar.__enter__()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """The bar grows; by nothing, where something was done that all steps need."""
        self._done += steps
        now = time.monotonic()
        if not steps:
            self._paced = now
        if self._bar is not None:
            self._bar.update(steps, note)
        elif now - self._spoke >= QUIET and self._done < self._total:
            self._spoke = now
            words = [note] if note else []
            if self._done > self._before:
                left = (now - self._paced) / (self._done - self._before) * (self._total - self._done)
                words.insert(0, f"{duration(left)} left")
            click.echo(f"{self._label:>22}  {', '.join([f'{self._done} of {self._total}', *words])}", err=True)

    def finish(self) -> None:
        """The bar is closed, and its time said."""
        seconds = time.monotonic() - self._started
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
        else:
            took = f"{seconds:.1f} s" if seconds < 120 else duration(seconds)
            click.echo(f"{self._label:>22}  {self._done} of {self._total} in {took}", err=True)

    def say(self, message: str) -> None:
        """A remark, once."""
        if message not in self._spoken:
            self._spoken.add(message)
            click.echo(f"note: {one_line(message)}", err=True)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
