"""Whether scores tell faces from other pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.bench_tables import choose
from pipeline.commands.machine import machine
from pipeline.commands.options import (
    PATH,
    code_options,
    inversion_options,
    json_option,
    open_inverter,
    prepare_codes,
)
from pipeline.commands.terminal import TerminalReporter, table_head, table_row
from reanimate.errors import MediaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reanimate.inversion.invert import Inverter
    from reanimate.types import UInt8

BATCH = 8
TILES = 4  # a side, of which a face is cut and put together wrongly
CORNER = 4  # the square in a photograph's corner has this share of its shorter side

DIGITS = {"mean": 4, "higher": 3, "mean_share": 4, "higher_share": 3}


@click.command("score")
@click.argument("folder", metavar="FACES_DIR", type=PATH)
@click.option("--limit", type=click.IntRange(min=2), default=50, show_default=True, help="Faces, in name order.")
@click.option("--held-out", is_flag=True, help="Only people that `train` never trains on.")
@click.option("--others", type=PATH, default=None, help="Folder of other pictures, whose central squares are scored.")
@code_options
@inversion_options
@json_option
def bench_score(
    folder: Path, limit: int, held_out: bool, others: Path | None, as_json: bool, **flags: Any
) -> None:  # fmt: skip
    """Measure whether scores tell faces from other pictures.

    The faces below FACES_DIR are scored as they are, upside down, and cut into tiles that are put together wrongly;
    beside them a corner of each photograph. `higher` is how often a picture of a kind scores higher than a face: 0.5 is
    chance.

    Example: reanimate bench score photographs --limit 20
    """
    setup = prepare_codes(**flags)
    inverter, reporter = open_inverter(setup), TerminalReporter()
    kinds = _kinds(choose(folder, held_out=held_out), limit, inverter.generator.resolution, reporter)
    if others is not None:
        kinds["other pictures"] = _squares(choose(others, held_out=False), inverter.generator.resolution)
    scores = {name: _score(inverter, pictures, setup.device, name, reporter) for name, pictures in kinds.items()}
    faces = scores["faces"]
    rows = [
        {"kind": name, "pictures": len(found),
         "mean": round(float(found[:, 0].mean()), 4), "higher": round(_higher(found[:, 0], faces[:, 0]), 3),
         "mean_share": round(float(found[:, 1].mean()), 4), "higher_share": round(_higher(found[:, 1], faces[:, 1]), 3)}
        for name, found in scores.items()
    ]  # fmt: skip
    about = {"machine": machine(setup.device), "model": setup.model.card.name, "loss": inverter.params.loss,
             "passes": inverter.params.first_steps}  # fmt: skip
    if as_json:
        click.echo(json.dumps({**about, "rows": rows}, indent=2))
        return
    for name, value in about.items():
        click.echo(f"{name}: {value}")
    higher = "higher than a face's"
    click.echo("\n" + table_head(["", "pictures", "mean score", higher, "mean share", higher]))
    for row in rows:
        numbers = [f"{row[name]:.{digits}f}" for name, digits in DIGITS.items()]
        click.echo(table_row([row["kind"], row["pictures"], *numbers]))


def _kinds(paths: list[Path], limit: int, resolution: int, reporter: TerminalReporter) -> dict[str, UInt8]:
    """Pictures [N, R, R, 3] by kind.

    Raises:
        MediaError: no photograph shows a face.
    """
    import numpy as np

    from reanimate.errors import FaceNotFound
    from reanimate.faces.still import aligned_crop
    from reanimate.images import read_image, resize

    faces: list[UInt8] = []
    corners: list[UInt8] = []
    for path in paths:
        if len(faces) == limit:
            break
        picture = read_image(path)
        try:
            faces.append(aligned_crop(picture, resolution, path))
        except FaceNotFound:
            reporter.say(f"{path.name}: no face is seen, so it is left out")
            continue
        side = max(1, min(picture.shape[:2]) // CORNER)
        corners.append(resize(picture[:side, :side], resolution, resolution))
    if not faces:
        raise MediaError(paths[0].parent, "no picture shows a face")
    whole = np.stack(faces)
    order = np.random.default_rng(0).permutation(TILES * TILES)
    return {
        "faces": whole,
        "upside down": np.ascontiguousarray(np.flip(whole, 1)),
        "tiles exchanged": np.stack([_exchange(face, order) for face in whole]),
        "corners of photographs": np.stack(corners),
    }


def _exchange(face: UInt8, order: NDArray[Any]) -> UInt8:
    import numpy as np

    side = face.shape[0] // TILES
    tiles = face[: side * TILES, : side * TILES].reshape(TILES, side, TILES, side, 3).swapaxes(1, 2)
    mixed = tiles.reshape(-1, side, side, 3)[order].reshape(TILES, TILES, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(side * TILES, side * TILES, 3))


def _squares(paths: list[Path], resolution: int) -> UInt8:
    import numpy as np

    from reanimate.images import read_image, resize

    squares = []
    for path in paths:
        picture = read_image(path)
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        squares.append(resize(picture[top : top + side, left : left + side], resolution, resolution))
    return np.stack(squares)


def _score(inverter: Inverter, pictures: UInt8, device: str, name: str, reporter: TerminalReporter) -> NDArray[Any]:
    """[N, 2] score and share."""
    import torch

    from reanimate.images import to_tensor
    from reanimate.restore.domain import distance

    reporter.start(name, len(pictures))
    found = []
    for start in range(0, len(pictures), BATCH):
        chunk = pictures[start : start + BATCH]
        near = distance(inverter, to_tensor(chunk).to(device))
        found.append(torch.stack([near.loss, near.share], 1))
        reporter.advance(len(chunk))
    reporter.finish()
    return torch.cat(found).numpy()


def _higher(found: NDArray[Any], faces: NDArray[Any]) -> float:
    """How often one of `found` is higher than one of `faces`; the area under the ROC curve."""
    import numpy as np

    return float((np.sign(found[:, None] - faces[None]) / 2 + 0.5).mean())
