"""Models in a form that other programs open."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import PATH, cache_dir, check_output
from pipeline.commands.terminal import TerminalReporter, print_path
from reanimate.errors import ModelError


@click.command()
@click.argument("model", metavar="BUNDLE")
@click.option("-o", "--output", type=PATH, required=True, help="The .pt to write.")
@click.option("--cache-dir", "folder", type=PATH, default=None, help="Where models are kept.")
def export(model: str, output: Path, folder: Path | None) -> None:
    """Export BUNDLE as a .pt for rosinality's code.

    BUNDLE is a model's name or folder; it must be a StyleGAN2. stylegan2-pytorch loads the .pt; a clamp on activations,
    which it does not know, is left out.

    Example: reanimate models export faces -o faces.pt
    """
    from pipeline.models import find_model
    from pipeline.store import Store
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.checkpoints.formats.rosinality import export as write
    from reanimate.generators.stylegan2 import StyleGAN2

    check_output(output)
    bundle = load_bundle(str(find_model(model, Store(cache_dir(folder)), TerminalReporter())))
    if not isinstance(bundle.generator, StyleGAN2):
        raise ModelError(model, f"is a {bundle.card.family}; only a StyleGAN2 has this form")
    write(bundle.generator.config, bundle.generator.state_dict(), output)
    print_path(output)
