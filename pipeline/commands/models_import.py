"""Official checkpoints as models of one's own."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import PATH, cache_dir, make_folder
from pipeline.commands.terminal import print_path
from reanimate.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from reanimate.checkpoints.bundle import Card

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = ("downloads",)  # what else lies beside the models


@click.command("import")
@click.argument("file", type=PATH)
@click.option("-o", "--output", type=PATH, default=None, help="The bundle to write. [default: NAME, in the cache]")
@click.option("--name", default=None, help="What --model calls it from now on. [default: the file's name]")
@click.option("--class", "label", type=int, default=None, metavar="N", help="Class that a conditional model draws.")
@click.option("--licence", default=None, help="Of the weights, for the card. [default: the known one, else unknown]")
@click.option("--cache-dir", "folder", type=PATH, default=None, help="Where models are kept.")
def import_model(
    file: Path, output: Path | None, name: str | None, label: int | None, licence: str | None, folder: Path | None
) -> None:
    """Import an official checkpoint: FILE becomes a model.

    FILE is a pickle of StyleGAN 1, 2 or 3 or of progressive GAN, or a .pt of rosinality's StyleGAN2 or of
    GAN_stability. Nothing in it is run.

    Example: reanimate models import network.pkl --name ffhq
    """
    from pipeline.models import own_models, readable_name
    from pipeline.store import Store
    from reanimate.checkpoints.bundle import EMBEDDED

    name = name or readable_name(file)
    models = own_models(Store(cache_dir(folder)))
    if output is None:
        if not _NAME.fullmatch(name) or name in _RESERVED or (EMBEDDED / name).exists():
            raise ConfigError("name", f"{name!r} cannot be a model's name; pass another --name, or -o a folder")
        output = models / name
    if output.exists() or output.is_symlink():
        raise MediaError(output, "is there already; remove it, or pass another --name or -o")
    card = _import(file, output, name, label, licence or _known_licence(file, models))
    print_path(output)
    click.echo(f"{name}: {card.family}, {card.config['resolution']} px, digest {card.digest[:12]}", err=True)


def _import(file: Path, output: Path, name: str, label: int | None, licence: str) -> Card:
    from reanimate.checkpoints.official import import_checkpoint

    make_folder(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        made = Path(work) / "bundle"
        card = import_checkpoint(file, made, name, label, licence)
        try:
            made.rename(output)
        except OSError as error:
            raise MediaError(output, f"cannot write ({(error.strerror or str(error)).lower()})") from error
    return card


def _known_licence(file: Path, models: Path) -> str:
    """That of the checkpoint that `models fetch` knows, if this is it."""
    from pipeline.digests import read_digests
    from pipeline.key import file_digest
    from reanimate.checkpoints.known import KNOWN

    digest, fetched = file_digest(file).removeprefix("sha256:"), read_digests(models)
    found = (known.licence for known in KNOWN.values() if digest in (known.sha256, fetched.get(known.url)))
    return next(found, "unknown")
