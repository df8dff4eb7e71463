"""Models: what is there, and what one looks like."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import click

from pipeline.commands.models_calibrate import calibrate
from pipeline.commands.models_export import export
from pipeline.commands.models_fetch import fetch
from pipeline.commands.models_import import import_model
from pipeline.commands.options import PATH, cache_dir, check_output, json_option, pick_device
from pipeline.commands.terminal import TerminalReporter, one_line, print_path

SAMPLES = 32
SAMPLE_COLUMNS = 8

_where = click.option("--cache-dir", "folder", type=PATH, default=None, help="Where models are kept.")


@click.group()
def models() -> None:
    """List models, look at them, fetch, import and export them."""


for command in (fetch, import_model, export, calibrate):
    models.add_command(command)


@models.command("list")
@_where
@json_option
def list_models(folder: Path | None, as_json: bool) -> None:
    """List embedded and imported models.

    Example: reanimate models list
    """
    from pipeline.models import own_models
    from pipeline.store import Store
    from reanimate.checkpoints.bundle import bundles, embedded_models, read_card

    cards = embedded_models()
    for own in bundles(own_models(Store(cache_dir(folder)))):
        cards.append(replace(read_card(own), name=own.name))  # by which --model finds it
    if as_json:
        click.echo(json.dumps([asdict(card) for card in cards], indent=2))
        return
    for card in cards:
        name, family, resolution = (one_line(str(v)) for v in (card.name, card.family, card.config.get("resolution")))
        click.echo(f"{name:<12} {family:<10} {resolution:>5} px  {card.digest[:12]}")


@models.command()
@click.argument("model", default="faces")
@click.option("-o", "--output", type=PATH, default=None, help="Also write a sheet of random faces here.")
@click.option("--psi", type=float, default=0.7, show_default=True, help="Truncation of the random faces.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random faces.")
@_where
@json_option
def show(model: str, output: Path | None, psi: float, seed: int, folder: Path | None, as_json: bool) -> None:
    """Show what MODEL is and how it was made.

    MODEL is a model's name, a bundle's folder, or an official checkpoint.

    Example: reanimate models show faces -o samples.png
    """
    from pipeline.models import find_model
    from pipeline.store import Store
    from reanimate.checkpoints.bundle import read_card

    if output is not None:
        check_output(output)
    found = find_model(model, Store(cache_dir(folder)), TerminalReporter())
    card = read_card(found)
    if as_json:
        click.echo(json.dumps(asdict(card), indent=2))
    else:
        click.echo(f"{card.name}: {card.family}, digest {card.digest[:12]}, licence {card.licence}")
        for title, entries in (("made", card.provenance), ("measured", card.measured)):
            for name, value in entries.items():
                click.echo(f"{title:>9}  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    if output is not None:
        _write_samples(str(found), output, psi, seed)
        if not as_json:
            print_path(output)


def _write_samples(model: str, output: Path, psi: float, seed: int) -> None:
    import torch

    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.images import sheet, to_pictures, write_image

    generator = load_bundle(model, pick_device("auto")).generator
    z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    pictures = []
    with torch.no_grad():
        for one in z.to(generator.w_avg.device):  # a large model's batch would not fit
            pictures += list(to_pictures(generator.synthesis(generator.mapping(one[None], truncation_psi=psi))))
    rows = [pictures[i : i + SAMPLE_COLUMNS] for i in range(0, SAMPLES, SAMPLE_COLUMNS)]
    write_image(output, sheet(rows), synthetic=True)
