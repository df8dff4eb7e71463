"""Models: what is there, and what one looks like."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.commands.options import PATH, check_output, json_option, pick_device
from pipeline.commands.terminal import print_path

SAMPLES = 32
SAMPLE_COLUMNS = 8


@click.group()
def models() -> None:
    """List and look at models."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the embedded models.

    Example: reanimate models list
    """
    from reanimate.checkpoints.bundle import embedded_models

    cards = embedded_models()
    if as_json:
        click.echo(json.dumps([asdict(card) for card in cards], indent=2))
        return
    for card in cards:
        click.echo(f"{card.name:<12} {card.family:<10} {card.config['resolution']:>5} px  {card.digest[:12]}")


@models.command()
@click.argument("model", default="faces")
@click.option("-o", "--output", type=PATH, default=None, help="Also write a sheet of random faces here.")
@click.option("--psi", type=float, default=0.7, show_default=True, help="Truncation of the random faces.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random faces.")
@json_option
def show(model: str, output: Path | None, psi: float, seed: int, as_json: bool) -> None:
    """Show what MODEL is and how it was made.

    MODEL is an embedded model's name or a bundle's folder.

    Example: reanimate models show faces -o samples.png
    """
    from reanimate.checkpoints.bundle import find_bundle, read_card

    if output is not None:
        check_output(output)
    card = read_card(find_bundle(model))
    if as_json:
        click.echo(json.dumps(asdict(card), indent=2))
    else:
        click.echo(f"{card.name}: {card.family}, digest {card.digest[:12]}, licence {card.licence}")
        for title, entries in (("made", card.provenance), ("measured", card.measured)):
            for name, value in entries.items():
                click.echo(f"{title:>9}  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    if output is not None:
        _write_samples(model, output, psi, seed)
        if not as_json:
            print_path(output)


def _write_samples(model: str, output: Path, psi: float, seed: int) -> None:
    import torch

    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.images import sheet, to_pictures, write_image

    generator = load_bundle(model, pick_device("auto")).generator
    z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        pictures = list(to_pictures(generator.synthesis(generator.mapping(z.to(generator.w_avg.device), psi))))
    rows = [pictures[i : i + SAMPLE_COLUMNS] for i in range(0, SAMPLES, SAMPLE_COLUMNS)]
    write_image(output, sheet(rows), synthetic=True)
