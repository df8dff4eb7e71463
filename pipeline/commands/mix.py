"""Attributes of one face on another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import (
    PATH,
    check_picture_output,
    code_options,
    inversion_options,
    no_align_option,
    open_inverter,
    parse_layers,
    prepare_codes,
)
from pipeline.commands.terminal import counted, print_path
from reanimate.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from reanimate.inversion.invert import Inverter
    from reanimate.types import UInt8


@click.command()
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The picture to write.")
@click.option("--layers", default="0-3", show_default=True, metavar="I-J", help="What is taken from B.")
@click.option(
    "--sheet",
    "sheet_path",
    type=PATH,
    default=None,
    help="Also write all crossings: A with ever more of B's coarse layers, below it B with A's.",
)
@code_options
@no_align_option
@inversion_options
def mix(
    a: Path, b: Path, output: Path, layers: str, sheet_path: Path | None, no_align: bool, **flags: Any
) -> None:  # fmt: skip
    """Draw the face in A with some layers of B's code.

    Coarse layers, the first ones, carry pose and shape; fine ones colours and light.

    Example: reanimate mix ann.jpg bob.jpg --layers 0-3 -o mixed.png
    """
    import torch

    from reanimate.images import sheet, to_pictures, write_image
    from reanimate.inversion.mixing import crossings, exchange

    for path in (output, *([sheet_path] if sheet_path is not None else [])):
        check_picture_output(path, a, b)
    setup = prepare_codes(**flags)
    chosen, num_ws = parse_layers(layers) or (), setup.model.config.num_ws
    if not setup.model.has_w:
        raise ConfigError("model", f"{setup.model.card.name} has no layers that could be exchanged")
    if max(chosen, default=0) >= num_ws:
        raise ConfigError("layers", f"{layers} is not within 0 to {num_ws - 1}, the model's layers")
    inverter = open_inverter(setup)
    crops, ws = _invert((a, b), inverter, align=not no_align)
    with torch.no_grad():
        mixed = to_pictures(inverter.generator.synthesis(exchange(ws[:1], ws[1:], chosen)))[0]
        write_image(output, mixed, synthetic=True)
        print_path(output)
        if sheet_path is not None:
            rows = [to_pictures(inverter.generator.synthesis(row)) for row in crossings(ws[0], ws[1])]
            tiled = [[own, *row, other] for own, other, row in zip(crops, crops[::-1], rows, strict=True)]
            write_image(sheet_path, sheet(tiled), synthetic=True)
            print_path(sheet_path)


def _invert(paths: tuple[Path, Path], inverter: Inverter, *, align: bool) -> tuple[list[UInt8], torch.Tensor]:
    """The crops, and their codes [2, L, D]."""
    import torch

    from reanimate.faces.still import aligned_crop, square_crop
    from reanimate.images import read_image, to_tensor

    take, generator = aligned_crop if align else square_crop, inverter.generator
    crops = [take(read_image(path), generator.resolution, path) for path in paths]
    codes = []
    for path, crop in zip(paths, crops, strict=True):
        with counted(path, inverter.params.first_steps) as on_pass:
            codes.append(inverter.first(to_tensor(crop[None]).to(generator.w_avg.device), on_pass).ws)
    return crops, torch.cat(codes)
