"""The measured page on motion."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.commands.machine import machine
from pipeline.commands.options import PATH, check_output, json_option, model_options, prepare, videos_in
from pipeline.commands.terminal import TerminalReporter, print_path
from reanimate.errors import MediaError

CLIPS = ("talk_suit", "talk_glasses", "talk_turning", "expressive_silent")


@click.command()
@click.argument("clips_dir", type=PATH)
@click.argument("targets", metavar="TARGET...", type=PATH, nargs=-1, required=True)
@click.option("--page", type=PATH, default=None, help="Write the page here, and its plots beside it.")
@click.option(
    "--clip",
    "chosen",
    multiple=True,
    metavar="NAME",
    help=f"A video of CLIPS_DIR, without its ending; may be repeated. [default: {', '.join(CLIPS)}]",
)
@click.option(
    "--frames",
    type=click.IntRange(min=5),
    default=12,
    show_default=True,
    help="Looked at of each pair in the sweeps; the table at the defaults takes all.",
)
@click.option(
    "--light-frames",
    type=click.IntRange(min=0),
    default=48,
    show_default=True,
    help="Of the first clip, with its brightness modulated; 0 leaves that out.",
)
@click.option("--set", "sets", multiple=True, metavar="STAGE.KEY=VALUE", help="One setting; may be repeated.")
@click.option("--cache-dir", type=PATH, default=None, help="Where finished stages are kept.")
@model_options
@json_option
def motion(
    clips_dir: Path, targets: tuple[Path, ...], page: Path | None, chosen: tuple[str, ...], frames: int,
    light_frames: int, as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Measure how much motion arrives, by settings.

    Videos of CLIPS_DIR move every TARGET: normalisation, layers and gain as curves of identity against motion, what
    else can be chosen, filters, head motion, light, and a table at the defaults beside what is hoped for. Every
    measurement is kept in the cache, so that an interrupted command goes on.

    Example: reanimate bench motion videos ann.jpg bob.jpg --page docs/motion.md
    """
    from pipeline.motion_page import draw, write
    from pipeline.motion_runs import open_bench
    from pipeline.motion_sweeps import sweep

    if page is not None:
        check_output(page)
    sources = [find_clip(clips_dir, name) for name in chosen or CLIPS]
    setup = prepare(**flags)
    reporter = TerminalReporter()
    bench = open_bench(setup.model, setup.store, setup.device, sources, targets, reporter, tuple(flags["sets"]))
    found = sweep(bench, frames, light_frames, reporter)
    if as_json:
        click.echo(json.dumps(plain(asdict(found)), indent=2))
    if page is not None:
        plots = draw(found, page)
        write(found, page, plots, setup.model.card, machine(setup.device), flags["sets"])
        if not as_json:
            print_path(page)
    elif not as_json:
        from pipeline.motion_page import tables

        click.echo(tables(found))


def plain(value: Any) -> Any:
    """As JSON has it: what is not a number is null."""
    if isinstance(value, dict):
        return {name: plain(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def find_clip(folder: Path, name: str) -> Path:
    """A video of a folder by its name without ending.

    Raises:
        MediaError: there is none.
    """
    for path in videos_in(folder):
        if path.stem == name:
            return path
    raise MediaError(folder / f"{name}.mp4", "no such video; choose others with --clip")
