"""Fetching checkpoints, and the list of those that are known by name."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from pipeline.commands.options import PATH, cache_dir, check_output, json_option, make_folder
from pipeline.commands.terminal import QUIET, duration, one_line, print_path
from reanimate.errors import ConfigError, MediaError, ModelError

if TYPE_CHECKING:
    from reanimate.checkpoints.known import Checkpoint

_MIB = 1 << 20


@click.command()
@click.argument("what", metavar="[NAME|URL]", required=False)
@click.option("-o", "--output", type=PATH, default=None, help="The file to write. [default: in the cache]")
@click.option("--sha256", default=None, metavar="HEX", help="Refuse any other file than the one with this digest.")
@click.option("--list", "listing", is_flag=True, help="List the checkpoints that are known by name.")
@click.option("--cache-dir", "folder", type=PATH, default=None, help="Where downloads and their digests are kept.")
@json_option
def fetch(
    what: str | None, output: Path | None, sha256: str | None, listing: bool, folder: Path | None, as_json: bool
) -> None:
    """Download a checkpoint, or list those known by name.

    NAME is one of the list; URL is any https address. What is cut off is gone on with by the same command. A file that
    changes behind its address is refused.

    Example: reanimate models fetch stylegan2-ffhq-256
    """
    from reanimate.checkpoints.known import KNOWN

    if what is None or listing:
        _list(list(KNOWN.values()), as_json)
        return
    checkpoint = _find(what, KNOWN)
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise ConfigError("sha256", f"{sha256!r} is not 64 hexadecimal digits")
        checkpoint = replace(checkpoint, sha256=sha256.lower())
    models = cache_dir(folder) / "models"
    path = output or models / "downloads" / checkpoint.file
    if output is None:
        make_folder(path.parent)
    check_output(path)
    digest = _fetch_once(checkpoint, path, models)
    if as_json:
        click.echo(json.dumps({"path": str(path), "sha256": digest, "url": checkpoint.url}))
    else:
        print_path(path)
    shown = click.format_filename(path)
    click.echo(f"use it with --model {shown}, or keep it: reanimate models import {shown}", err=True)


def _list(checkpoints: list[Checkpoint], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(checkpoint) for checkpoint in checkpoints], indent=2))
        return
    for known in checkpoints:
        state = "verified" if known.sha256 else "unverified"
        click.echo(f"{known.name:<30} {known.family:<10} {known.resolution:>5} px  {state:<10}  {known.licence}")


def _find(what: str, known: dict[str, Checkpoint]) -> Checkpoint:
    from reanimate.checkpoints.addresses import file_name
    from reanimate.checkpoints.known import Checkpoint

    if "://" in what:
        listed = [checkpoint for checkpoint in known.values() if checkpoint.url == what]
        return listed[0] if listed else Checkpoint(file_name(what), "unknown", 0, what, "unknown", "", suffix="")
    if what not in known:
        raise ModelError(what, f"not known; give an https address or one of: {', '.join(known)}")
    return known[what]


def _fetch_once(checkpoint: Checkpoint, path: Path, models: Path) -> str:
    """The sha256 of the file, which no other process fetches to the same place meanwhile."""
    from pipeline.lock import BusyError, locked

    try:
        with locked(path.with_name(f"{path.name}.lock")):
            return _fetch(checkpoint, path, models)
    except BusyError as error:
        raise MediaError(path, "another reanimate is fetching to it; wait for it, or pass -o another name") from error


def _fetch(checkpoint: Checkpoint, path: Path, models: Path) -> str:
    from pipeline.digests import read_digests, record_digest
    from pipeline.key import file_digest
    from reanimate.checkpoints.fetch import fetch as download

    seen = read_digests(models)
    before = seen.get(checkpoint.url)
    expected = checkpoint.sha256 or before
    here = file_digest(path).removeprefix("sha256:") if path.exists() else None
    if here is not None and here == expected:
        click.echo("already here: nothing is downloaded", err=True)
        return here
    owners = [url for url, digest in seen.items() if digest == here and url != checkpoint.url]
    if owners:
        raise MediaError(path, f"holds what {owners[0]} gave; pass -o another name, or remove it")
    terms = f" ({checkpoint.page})" if checkpoint.page else "; ask whoever offers it"
    click.echo(f"licence: {checkpoint.licence}{terms}", err=True)
    click.echo(f"from: {one_line(checkpoint.url)}", err=True)
    with _Bar(path.name) as bar:
        digest = download(checkpoint.url, path, bar, sha256=expected)
    if digest != before:
        record_digest(models, checkpoint.url, digest)
    how = "as expected" if expected else "unverified; noted, and expected from now on"
    click.echo(f"sha256: {digest} ({how})", err=True)
    return digest


class _Bar:
    """A bar on a screen; where there is none, or no size is known, a line now and then."""

    def __init__(self, name: str) -> None:
        self._name = one_line(name)
        self._bar: Any = None
        self._total: int | None = None
        self._done = self._before = 0
        self._started = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def start(self, total: int | None, done: int) -> None:
        """Bytes begin to come; those here before count as done but not as time."""
        self.__exit__()
        self._total, self._done, self._before = total, done, done
        self._started = self._spoke = time.monotonic()
        if done:
            self.say(f"going on from {self._far()}")
        if total is not None and sys.stderr.isatty():
            self._bar = click.progressbar(
                length=total - done, label=self._name, file=sys.stderr, show_eta=True, show_percent=False,
                item_show_func=lambda far: far or "", update_min_steps=_MIB,
            )  # fmt: skip
            self._bar.__enter__()

    def advance(self, count: int) -> None:
        """The bar grows."""
        self._done += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(count, self._far())
        elif now - self._spoke >= QUIET:
            self._spoke = now
            words = [self._far()]
            if self._total is not None:
                left = (now - self._started) / max(1, self._done - self._before) * (self._total - self._done)
                words.append(f"{duration(left)} left")
            click.echo(f"{self._name}  {', '.join(words)}", err=True)

    def say(self, message: str) -> None:
        """A remark, below the bar that it ends."""
        self.__exit__()
        click.echo(f"note: {one_line(message)}", err=True)

    def _far(self) -> str:
        total = "" if self._total is None else f" of {self._total / _MIB:.1f}"
        return f"{self._done / _MIB:.1f}{total} MiB"
