"""Whether Deep Image Prior behaves as its paper says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.machine import machine
from pipeline.commands.options import PATH, check_picture_output, json_option, pick_device
from pipeline.commands.terminal import TerminalReporter, table_head, table_row
from reanimate.errors import MediaError

if TYPE_CHECKING:
    import torch

NOISE = 0.3  # standard deviation of the noise that is added to the picture, of a range from -1 to 1


@click.command()
@click.argument("image", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The plot to write.")
@click.option(
    "--side",
    type=click.Choice(["32", "64", "128", "256"]),
    default="64",
    show_default=True,
    help="Of the central square that is fitted, px.",
)
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Passes of each fit.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@json_option
def dip(image: Path, output: Path, side: str, steps: int, device: str, as_json: bool) -> None:
    """Draw how Deep Image Prior fits a picture and noise.

    As in the paper's figure, an untrained network is fitted to IMAGE, to IMAGE with noise, to IMAGE with its pixels
    shuffled, and to noise. It is a prior if the first comes sooner than the last.

    Example: reanimate bench dip photo.jpg -o curves.png
    """
    from pipeline.commands.draw import draw_fits
    from reanimate.images import read_image, resize, to_tensor
    from reanimate.restore.dip import DipParams, fit

    check_picture_output(output, image)
    picture, size = read_image(image), int(side)
    shorter = min(picture.shape[:2])
    if shorter < size:
        raise MediaError(image, f"is smaller than {size}x{size} px; pass a lower --side")
    top, left = ((length - shorter) // 2 for length in picture.shape[:2])
    square = resize(picture[top : top + shorter, left : left + shorter], size, size)
    chosen, reporter = pick_device(device), TerminalReporter()
    targets = _targets(to_tensor(square[None]))
    curves: dict[str, list[float]] = {name: [] for name in targets}
    reporter.start("fitting", steps * len(targets))
    for name, target in targets.items():
        fit(target.to(chosen), size, DipParams(steps=steps), on_loss=curves[name].append, on_pass=reporter.advance)
    reporter.finish()
    draw_fits(curves, output)
    rows = [
        {"fitted_to": name, "passes_to_a_tenth": _passes(curve), "left": round(curve[-1] / curve[0], 4)}
        for name, curve in curves.items()
    ]
    if as_json:
        click.echo(json.dumps({"machine": machine(chosen), "rows": rows, "curves": curves}))
        return
    click.echo(f"machine: {machine(chosen)}\n")
    click.echo(table_head(["fitted to", "passes to a tenth of the error", "left at the end"]))
    for row in rows:
        passes = "-" if row["passes_to_a_tenth"] is None else row["passes_to_a_tenth"]
        click.echo(table_row([row["fitted_to"], passes, f"{row['left']:.1%}"]))


def _targets(picture: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is fitted [1, 3, R, R], all in [-1, 1]."""
    import torch

    draws = torch.Generator().manual_seed(0)
    noise = torch.rand(picture.shape, generator=draws) * 2 - 1
    order = torch.randperm(picture.shape[-1] ** 2, generator=draws)
    return {
        "the picture": picture,
        "the picture with noise": (picture + NOISE * torch.randn(picture.shape, generator=draws)).clamp(-1, 1),
        "the picture, px shuffled": picture.flatten(2)[..., order].view(picture.shape),
        "noise": noise,
    }


def _passes(curve: list[float]) -> int | None:
    """Until a tenth of the error at the start is left; None if it never is."""
    return next((i for i, error in enumerate(curve) if error <= curve[0] / 10), None)
