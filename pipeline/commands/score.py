"""How far pictures are from what a model knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import (
    PATH,
    code_options,
    inversion_options,
    json_option,
    no_align_option,
    open_inverter,
    prepare_codes,
)
from pipeline.commands.terminal import counted, one_line, print_error
from reanimate.errors import ReanimateError


@click.command()
@click.argument("images", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@code_options
@no_align_option
@inversion_options
@json_option
def score(images: tuple[Path, ...], no_align: bool, as_json: bool, **flags: Any) -> None:
    """Say how far each IMAGE is from the model's domain.

    That is what is left of the loss when the model has come as near as it can (the paper's Eq. 2): low for what it was
    trained on, high for what it cannot draw. The second number is its share of what the picture's mean colour alone
    would leave: it does not take a wall for a face. Scores of one model, loss and number of passes compare with each
    other and with nothing else.

    Example: reanimate score ann.jpg cat.jpg --no-align
    """
    from reanimate.faces.still import aligned_crop, square_crop
    from reanimate.images import read_image, to_tensor
    from reanimate.restore.domain import distance

    setup = prepare_codes(**flags)
    inverter, rows = open_inverter(setup), []
    take = square_crop if no_align else aligned_crop
    for path in images:
        try:
            crop = take(read_image(path), inverter.generator.resolution, path)
            with counted(path, inverter.params.first_steps) as on_pass:
                found = distance(inverter, to_tensor(crop[None]).to(setup.device), on_pass)
            numbers = {"score": round(float(found.loss[0]), 6), "share": round(float(found.share[0]), 6)}
            rows.append({"image": str(path), **numbers, "passes": found.passes})
            if not as_json:
                click.echo(f"{numbers['score']:.4f}  {numbers['share']:.3f}  {one_line(str(path))}")
        except ReanimateError as error:  # the other pictures are not to blame
            if len(images) == 1:
                raise
            print_error(str(error))
    if as_json:
        click.echo(json.dumps({"model": setup.model.card.name, "loss": inverter.params.loss, "rows": rows}, indent=2))
    if len(rows) < len(images):
        raise ReanimateError(f"{len(images) - len(rows)} of {len(images)} pictures could not be scored")
