"""The cache: what is in it, whether it is sound, and making room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import PATH, cache_dir
from reanimate.errors import StoreError

if TYPE_CHECKING:
    from pipeline.store import Store

_where = click.option("--cache-dir", "folder", type=PATH, default=None, help="Where finished stages are kept.")


@click.group()
def cache() -> None:
    """List, verify and clean the cache of finished stages."""


@cache.command("list")
@_where
def list_artefacts(folder: Path | None) -> None:
    """List what is in the cache, by stage, with sizes.

    Example: reanimate cache list
    """
    store = _store(folder)
    total = 0
    for artefact in store.list_artefacts():
        total += artefact.bytes
        click.echo(f"{artefact.stage:<14} {artefact.key[:12]}  {artefact.bytes / 2**20:9.2f} MiB  {artefact.state}")
    click.echo(f"{total / 2**20:.1f} MiB in {store.root}")


@cache.command()
@_where
def verify(folder: Path | None) -> None:
    """Read every file in the cache and compare it with its digest.

    Example: reanimate cache verify
    """
    store = _store(folder)
    damaged = 0
    for artefact in store.verify():
        damaged += artefact.state == "damaged"
        click.echo(f"{artefact.stage:<14} {artefact.key[:12]}  {artefact.state}")
    if damaged:
        raise StoreError(store.root, f"{damaged} damaged; they are rebuilt when they are needed")


@cache.command()
@_where
@click.option(
    "--unused-for",
    type=click.FloatRange(min=0),
    default=None,
    metavar="DAYS",
    help="Only what was not used for so long.",
)
@click.option("--all", "everything", is_flag=True, help="Everything that is not in use.")
def clean(folder: Path | None, unused_for: float | None, everything: bool) -> None:
    """Remove what was interrupted or damaged.

    With options, finished stages too.

    Example: reanimate cache clean --unused-for 30
    """
    store = _store(folder)
    removed = store.clean(partial=True, damaged=True, everything=everything, unused_days=unused_for)
    click.echo(f"{len(removed)} removed, {sum(a.bytes for a in removed) / 2**20:.1f} MiB")


def _store(given: Path | None) -> Store:
    from pipeline.store import Store

    return Store(cache_dir(given))
