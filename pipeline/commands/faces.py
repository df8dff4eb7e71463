"""Who is in a clip."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from pipeline.commands.options import PATH, check_output
from pipeline.commands.terminal import print_path
from reanimate.errors import FaceNotFound

LOOKED_AT = 50  # frames from the start, as far as the picture with the most faces is looked for


@click.command()
@click.argument("source", metavar="CLIP", type=PATH)
@click.option("-o", "--output", type=PATH, default=Path("faces.png"), show_default=True, help="The picture to write.")
def faces(source: Path, output: Path) -> None:
    """Number the faces in CLIP.

    Of its first frames, the one that shows most faces is drawn with a number on each, from the left. `run --face N`
    follows one of them; without, the largest is followed.

    Example: reanimate faces clip.mp4 -o faces.png
    """
    from pipeline.stages.clip import open_clip
    from reanimate.faces.detect import DlibDetector
    from reanimate.faces.track import from_the_left
    from reanimate.images import numbered, write_image

    check_output(output)
    info, frames = open_clip(source)
    detector = DlibDetector()
    looked = [(frame, detector.detect(frame, thorough=t == 0)) for t, frame in enumerate(islice(frames, LOOKED_AT))]
    at, (picture, found) = max(enumerate(looked), key=lambda seen: (len(seen[1][1]), -seen[0]))
    if not found:
        raise FaceNotFound(range(len(looked)), info.num_frames, "give a clip that begins with a face", where=source)
    write_image(output, numbered(picture, [face.box for face in from_the_left(found)]))
    click.echo(f"{len(found)} face{'' if len(found) == 1 else 's'} in frame {at}")
    print_path(output)
