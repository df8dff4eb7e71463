"""Pictures to latent codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import (
    PATH,
    code_options,
    inversion_options,
    make_folder,
    no_align_option,
    open_inverter,
    prepare_codes,
)
from pipeline.commands.terminal import print_error
from reanimate.errors import MediaError, ReanimateError


@click.command()
@click.argument("images", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for NAME.npz, NAME.crop.png, NAME.recon.png.")
@inversion_options
@code_options
@no_align_option
def invert(images: tuple[Path, ...], output: Path, no_align: bool, **flags: Any) -> None:
    """Find the latent code of the face in each IMAGE.

    NAME.npz holds ws [L, D] and loss.

    Example: reanimate invert ann.jpg bob.jpg -o codes
    """
    names = [path.stem for path in images]
    if len(set(names)) < len(names):
        raise click.UsageError("two pictures share a name; invert them into different folders")
    setup = prepare_codes(**flags)
    make_folder(output)
    inverter = open_inverter(setup)
    failed = 0
    for path in images:
        try:
            click.echo(_invert_one(inverter, path, output, align=not no_align))
        except ReanimateError as error:  # the other pictures are not to blame
            if len(images) == 1:
                raise
            failed += 1
            print_error(str(error))
    if failed:
        raise ReanimateError(f"{failed} of {len(images)} pictures could not be inverted")


def _invert_one(inverter: Any, path: Path, folder: Path, *, align: bool) -> str:
    import numpy as np

    from reanimate.faces.still import aligned_crop, square_crop
    from reanimate.images import read_image, to_pictures, to_tensor, write_image

    generator = inverter.generator
    picture, resolution = read_image(path), generator.resolution
    crop = aligned_crop(picture, resolution, path) if align else square_crop(picture, resolution, path)
    device = generator.w_avg.device
    with click.progressbar(length=inverter.params.first_steps, label=path.name, file=sys.stderr) as bar:
        solution = inverter.first(to_tensor(crop[None]).to(device), lambda: bar.update(1))
    write_image(folder / f"{path.stem}.crop.png", crop)
    write_image(folder / f"{path.stem}.recon.png", to_pictures(generator.synthesis(solution.ws))[0], synthetic=True)
    codes = folder / f"{path.stem}.npz"
    try:
        np.savez(codes, ws=solution.ws[0].cpu().numpy(), loss=np.float32(solution.loss[0]))
    except OSError as error:
        raise MediaError(codes, f"cannot write ({(error.strerror or str(error)).lower()})") from error
    return f"{codes}  loss {float(solution.loss[0]):.4f} after {solution.passes} passes"
