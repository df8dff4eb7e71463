"""Measurements, each printed with the machine it was made on."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import PATH, check_output, inversion_options, json_option, make_folder, prepare
from pipeline.commands.terminal import TerminalReporter
from reanimate.errors import MediaError, ReanimateError


@click.group()
def bench() -> None:
    """Measure reconstruction, and whole runs."""


@bench.command()
@click.argument("images_dir", type=PATH)
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Faces, in name order.")
@click.option("--everyone", is_flag=True, help="Also people the embedded model may have been trained on.")
@click.option("--sheet", type=PATH, default=None, help="Write originals over encoder and optimised results here.")
@inversion_options
@json_option
def reconstruct(images_dir: Path, limit: int, everyone: bool, sheet: Path | None, as_json: bool, **flags: Any) -> None:
    """Measure how well faces survive inversion.

    Held-out faces below IMAGES_DIR are inverted, and dlib's descriptor is asked whether they are still the same
    people. Held out is a tenth of the people by a hash of the folder's name, as in training.

    Example: reanimate bench reconstruct photographs --sheet faces.png
    """
    from pipeline.commands.reconstruct import measure
    from reanimate.images import is_picture
    from reanimate.training.data import identity, is_held_out

    if not images_dir.is_dir():
        raise MediaError(images_dir, "no such folder")
    if sheet is not None:
        check_output(sheet)
    paths = sorted(path for path in images_dir.rglob("*") if is_picture(path))
    names = [str(path.relative_to(images_dir)) for path in paths]
    chosen = [p for p, name in zip(paths, names, strict=True) if everyone or is_held_out(identity(name))][:limit]
    if not chosen:
        raise MediaError(images_dir, "no pictures of held-out people; pass --everyone to take any")
    setup = prepare(**flags)
    result = {"model": setup.model.card.name, "preset": flags["preset"], **measure(chosen, setup, sheet)}
    _print({"machine": machine(setup.device), **result}, as_json)


@bench.command()
@click.argument("clips_dir", type=PATH)
@click.argument("targets", metavar="TARGET...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the videos and a sheet of frames for each.")
@inversion_options
@json_option
def clips(clips_dir: Path, targets: tuple[Path, ...], output: Path, as_json: bool, **flags: Any) -> None:
    """Run every video in CLIPS_DIR with every TARGET.

    A row for each: frames, durations, faces, seconds; one that failed says why.

    Example: reanimate bench clips videos ann.jpg bob.jpg -o results
    """
    from pipeline.commands.clips import run_one

    sources = sorted(path for path in clips_dir.glob("*") if path.suffix.lower() in {".mp4", ".mov", ".mkv", ".webm"})
    if not sources:
        raise MediaError(clips_dir, "no videos in this folder")
    make_folder(output)
    setup, rows = prepare(**flags), []
    for source in sources:
        for target in targets:
            started = time.monotonic()
            row: dict[str, Any] = {"source": source.name, "target": target.name}
            try:
                row |= run_one(source, target, output, setup, TerminalReporter())
            except ReanimateError as error:
                row["error"] = str(error)
            rows.append(row | {"seconds": round(time.monotonic() - started, 1)})
    if as_json:
        click.echo(json.dumps({"machine": machine(setup.device), "rows": rows}, indent=2))
    else:
        click.echo(f"machine: {machine(setup.device)}")
        click.echo(_table(rows))
    if any("error" in row for row in rows):
        raise ReanimateError(f"{sum('error' in row for row in rows)} of {len(rows)} runs failed")


def _table(rows: list[dict[str, Any]]) -> str:
    names = ("frames_in", "frames_out", "faces", "duration_in", "duration_out", "sound", "loss")
    lines = [
        "| source | target | frames in | out | face | seconds in | out | sound | loss | took |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["error"], *[""] * (len(names) - 1)] if "error" in row else [str(row[name]) for name in names]
        lines.append(f"| {' | '.join([row['source'], row['target'], *cells, str(row['seconds'])])} |")
    return "\n".join(lines)


def machine(device: str) -> str:
    """The machine in words."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, {platform.machine()}, torch {torch.__version__}, python {platform.python_version()}"


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        click.echo(f"{name}: {value}")
