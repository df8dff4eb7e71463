"""What a hole in a picture of a face may have shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import PATH, check_picture_output
from pipeline.commands.restoring import PriorName, open_tool, restoring_options
from pipeline.commands.terminal import counted, print_path
from reanimate.errors import ConfigError, FaceNotFound, MediaError

if TYPE_CHECKING:
    from reanimate.types import Bool, Float32, UInt8

WHITE = 128  # what is at least as bright in a mask is a hole


@click.command()
@click.argument("image", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The picture to write.")
@click.option("--mask", type=PATH, default=None, help="Picture of IMAGE's size: white is drawn anew.")
@click.option("--box", default=None, metavar="X,Y,W,H", help="Instead of a mask: the rectangle that is drawn anew, px.")
@restoring_options
def inpaint(
    image: Path, output: Path, mask: Path | None, box: str | None, prior: PriorName, no_align: bool, **flags: Any
) -> None:
    """Draw what a hole in IMAGE may have shown.

    The face is aligned, the code is found whose picture agrees with what surrounds the hole, and what the generator
    draws of it is put into the hole. Outside the hole no pixel changes.

    Example: reanimate inpaint torn.png --mask mask.png -o whole.png
    """
    from reanimate.images import read_image, write_image
    from reanimate.restore.place import inpaint_in

    if (mask is None) == (box is None):
        raise click.UsageError("give either --mask or --box")
    check_picture_output(output, image, *([mask] if mask is not None else []))
    picture = read_image(image)
    hole = _read_mask(mask, picture) if mask is not None else _parse_box(box or "", picture)
    where = mask or image
    if not hole.any():
        raise MediaError(where, "the mask marks nothing; white is what is drawn anew")
    if hole.all():
        raise MediaError(where, "the mask marks everything; something must be left to go by")
    tool = open_tool("inpaint", prior, **flags)
    quad = _find_quad(picture, hole, image, align=not no_align)
    with counted(image, tool.passes) as on_pass:
        made = inpaint_in(picture, hole, quad, tool.prior, tool.resolution, tool.device, on_pass, where)
    write_image(output, made, synthetic=True)
    print_path(output)


def _read_mask(path: Path, picture: UInt8) -> Bool:
    from reanimate.images import read_image

    mask = read_image(path)
    if mask.shape != picture.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (mask.shape, picture.shape)]
        raise MediaError(path, f"the mask is {sizes[0]} px and the picture {sizes[1]}; they must be of one size")
    hole: Bool = mask.max(2) >= WHITE
    return hole


def _parse_box(text: str, picture: UInt8) -> Bool:
    import numpy as np

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise ConfigError("box", f"{text!r} is not X,Y,W,H in px")
    left, top, width, height = map(int, parts)
    if left + width > picture.shape[1] or top + height > picture.shape[0]:
        raise ConfigError("box", f"{text} reaches beyond the picture of {picture.shape[1]}x{picture.shape[0]} px")
    hole = np.zeros(picture.shape[:2], np.bool_)
    hole[top : top + height, left : left + width] = True
    return hole


def _find_quad(picture: UInt8, hole: Bool, where: Path, *, align: bool) -> Float32:
    from reanimate.faces.still import check_square, largest_face
    from reanimate.restore.place import whole_quad, without_hole

    if not align:
        return whole_quad(check_square(picture, where))
    try:  # what the hole shows is not believed unless nothing else shows a face
        return largest_face(without_hole(picture, hole), where)
    except FaceNotFound:
        return largest_face(picture, where)
