"""Small pictures of faces, larger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import PATH, check_picture_output
from pipeline.commands.restoring import PriorName, open_tool, restoring_options
from pipeline.commands.terminal import counted, print_path
from reanimate.errors import MediaError

if TYPE_CHECKING:
    from reanimate.restore.degradations import Downsampling

MAX_FACTOR = 64
MIN_CROP = 4  # px


@click.command()
@click.argument("image", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The picture to write.")
@click.option("--factor", type=click.IntRange(2, MAX_FACTOR), default=8, show_default=True, help="How much larger.")
@click.option(
    "--downsampling",
    type=click.Choice(["nearest", "area", "bicubic"]),
    default="area",
    show_default=True,
    help="How IMAGE is thought to have become small; nearest is what the paper's code does.",
)
@restoring_options
def upscale(
    image: Path, output: Path, factor: int, downsampling: Downsampling, prior: PriorName, no_align: bool, **flags: Any
) -> None:
    """Enlarge IMAGE, drawing what its face may have looked like.

    The whole picture is enlarged bicubically; the code is found whose picture, made small, agrees with the face, and
    what the generator draws of it is put in with a soft edge. With --no-align all of IMAGE is the face.

    Example: reanimate upscale small.png -o large.png --factor 8
    """
    import numpy as np

    from reanimate.faces.align import paste
    from reanimate.faces.still import check_square, largest_face
    from reanimate.images import MAX_PIXELS, read_image, resize, write_image
    from reanimate.restore.place import draw_enlarged, known_side, whole_quad

    check_picture_output(output, image)
    picture = read_image(image)
    height, width = (side * factor for side in picture.shape[:2])
    if height * width > MAX_PIXELS:
        raise MediaError(
            image, f"{factor} times its size is more than the {MAX_PIXELS} px limit; pass a lower --factor"
        )
    tool = open_tool("upscale", prior, **flags)
    large = resize(picture, width, height)
    if no_align:
        quad = whole_quad(check_square(picture, image, MIN_CROP))
        shown, side = picture, known_side(quad, tool.resolution, image)
    else:  # a small face is found where it has become large, and taken from there, where its edges are smooth
        quad = largest_face(large, image)
        shown, side = large, known_side(quad / np.float32(factor), tool.resolution, image)
    with counted(image, tool.passes) as on_pass:
        drawn = draw_enlarged(shown, quad, side, tool.prior, tool.resolution, downsampling, tool.device, on_pass)
    made = resize(drawn, width, height) if no_align else paste(drawn, quad, large)
    write_image(output, made, synthetic=True)
    print_path(output)
