"""Measurements, each printed with the machine it was made on."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.bench_dip import dip
from pipeline.commands.bench_invert import bench_invert
from pipeline.commands.bench_motion import motion
from pipeline.commands.bench_score import bench_score
from pipeline.commands.bench_tables import tables
from pipeline.commands.machine import machine
from pipeline.commands.options import PATH, cache_dir, inversion_options, json_option, make_folder, prepare, videos_in
from pipeline.commands.terminal import TerminalReporter, one_line, table_head, table_row
from reanimate.errors import ConfigError, MediaError, ReanimateError

if TYPE_CHECKING:
    from pipeline.commands.passes import Subject
    from reanimate.metrics import LpipsNet


@click.group()
def bench() -> None:
    """Measure reconstruction, restoration, whole runs, and parity."""


@bench.command()
@click.argument("images_dir", type=PATH)
@click.option("--limit", type=click.IntRange(min=1), default=300, show_default=True, help="Faces, in name order.")
@click.option("--everyone", is_flag=True, help="Also people the embedded model may have been trained on.")
@click.option("--best", is_flag=True, help="Also with the preset best.")
@click.option(
    "--features",
    type=PATH,
    default=None,
    help="npz of SqueezeNet weights: adds SqueezeNet distance, and random faces against real ones.",
)
@click.option(
    "--lpips",
    type=click.Choice(["alex", "vgg"]),
    default=None,
    help="Also measure LPIPS with this network; its weights are fetched once.",
)
@click.option(
    "--sheets",
    type=PATH,
    default=None,
    help="Folder for reconstructions (originals above the rest), samples and interpolations.",
)
@inversion_options
@json_option
def reconstruct(
    images_dir: Path, limit: int, everyone: bool, best: bool, features: Path | None, lpips: LpipsNet | None,
    sheets: Path | None, as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Measure how well faces survive inversion.

    Held-out faces below IMAGES_DIR are inverted, and dlib's descriptor is asked whether they are still the same
    people. Held out is a tenth of the people by a hash of the folder's name, as in training.

    Example: reanimate bench reconstruct photographs --sheets looked-at
    """
    from pipeline.commands.reconstruct import Yardsticks, measure, open_gallery
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.images import is_picture
    from reanimate.inversion.features import SqueezeNetFeatures
    from reanimate.training.data import identity, is_held_out

    if not images_dir.is_dir():
        raise MediaError(images_dir, "no such folder")
    paths = sorted(path for path in images_dir.rglob("*") if is_picture(path))
    names = [identity(str(path.relative_to(images_dir))) for path in paths]
    chosen = [(p, name) for p, name in zip(paths, names, strict=True) if everyone or is_held_out(name)][:limit]
    if not chosen:
        raise MediaError(images_dir, "no pictures of held-out people; pass --everyone to take any")
    setup = prepare(**flags)
    ways = {flags["preset"]: setup.chosen["invert"]}
    if best:
        ways["best"] = prepare(**{**flags, "preset": "best"}).chosen["invert"]
    if sheets is not None:
        make_folder(sheets)
    by = Yardsticks(SqueezeNetFeatures(features).to(setup.device) if features is not None else None, lpips)
    bundle = load_bundle(str(setup.model.folder), setup.device)
    gallery = open_gallery(chosen, bundle.generator.resolution)
    found = measure(gallery, bundle, ways, by, sheets, setup.device)
    _print({"machine": machine(setup.device), "model": setup.model.card.name, **found}, as_json)


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

    sources = videos_in(clips_dir)
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


@bench.command()
@click.argument("sets_dir", metavar="DIR", type=PATH)
@json_option
def parity(sets_dir: Path, as_json: bool) -> None:
    """Compare checkpoints with recorded official outputs.

    Every folder below DIR that holds outputs.npz is a set: a checkpoint, inputs.npz and outputs.npz. The exit code is 1
    if an output is further off than 1e-4 (pictures, and features as a share of the largest) or 1e-5 (codes), or could
    not be made.

    Example: reanimate bench parity sets
    """
    from pipeline.commands.parity import compare, find_sets

    rows = []
    if not as_json:
        click.echo(f"machine: {machine('cpu')}")
        click.echo(f"{'set':<32} {'output':<28} {'error':>9} {'tolerance':>9}")
    for folder in find_sets(sets_dir):
        for row in compare(folder, str(folder.relative_to(sets_dir))):
            rows.append(row)
            if not as_json:
                error = "-" if row.error is None else f"{row.error:.2e}"
                verdict = "ok" if row.ok else one_line(row.reason) or "OVER"
                click.echo(
                    f"{one_line(row.set):<32} {one_line(row.output):<28} {error:>9} {row.tolerance:>9.0e}  {verdict}"
                )
    off = sum(not row.ok for row in rows)
    if as_json:
        table = [asdict(row) | {"ok": row.ok} for row in rows]
        click.echo(json.dumps({"machine": machine("cpu"), "rows": table}, indent=2))
    else:
        click.echo(f"{len(rows)} outputs of {len({row.set for row in rows})} sets, {off} over or missing")
    if off:
        raise ReanimateError(f"{off} of {len(rows)} outputs are further off than they may be, or could not be made")


@bench.command("pass")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("faces", "128:8192/256"),
    show_default=True,
    help="A StyleGAN2 model, or the size of one with random weights: side:base/most channels.",
)
@click.option("--device", "devices", multiple=True, help="cpu, cuda or cuda:N. [default: cpu, and cuda if present]")
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1,),
    show_default=True,
    help="Pictures in a pass; may be repeated.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "tf32", "bfloat16", "float16"]),
    multiple=True,
    default=("float32",),
    show_default=True,
    help="Of convolutions; may be repeated.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=10, show_default=True, help="Timed passes of each.")
@json_option
def pass_(
    models: tuple[str, ...], devices: tuple[str, ...], batches: tuple[int, ...], precisions: tuple[Any, ...],
    repeats: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure one pass with gradient beside the published way.

    Codes to pictures, the model's default loss, and back. The reference modulates weights in grouped convolutions and
    filters in a step of its own, as published networks do; `difference` is the largest between the pictures of the
    two. Milliseconds are medians and quartiles of repeats in turn; multiply-adds are those of convolutions and
    products of matrices, bytes those of the tensors that operations read and write.

    Example: reanimate bench pass --batch 1 --batch 4
    """
    import torch

    from pipeline.commands.options import pick_device
    from pipeline.commands.passes import measure

    chosen = [pick_device(name) for name in devices or ("cpu", *(["cuda"] if torch.cuda.is_available() else []))]
    rows = [
        row
        for model in models
        for device in chosen
        for row in measure(_subject(model, device), device, batches, precisions, repeats)
    ]
    machines = {device: machine(device) for device in chosen}
    if as_json:
        click.echo(json.dumps({"machine": machines, "rows": rows}, indent=2))
        return
    for text in machines.values():
        click.echo(f"machine: {text}")
    click.echo(table_head(list(rows[0])) if rows else "nothing to measure")
    for row in rows:
        click.echo(table_row(list(row.values())))


def _subject(name: str, device: str) -> Subject:
    """A model by size, name or path."""
    from pipeline.commands.passes import Subject, random_model
    from pipeline.models import find_model
    from pipeline.store import Store
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.generators.stylegan2 import StyleGAN2
    from reanimate.inversion.losses import make_loss

    random = random_model(name)
    if random is not None:
        return Subject(name, random, make_loss("multiscale"))
    bundle = load_bundle(str(find_model(name, Store(cache_dir(None)), TerminalReporter())), device)
    if not isinstance(bundle.generator, StyleGAN2):
        raise ConfigError("model", f"{bundle.card.name} is no StyleGAN2 generator; the reference pass is one")
    loss = make_loss("multiscale" if bundle.features is None else "features", own=bundle.features)
    return Subject(bundle.card.name, bundle.generator, loss)


def _table(rows: list[dict[str, Any]]) -> str:
    names = ("frames_in", "frames_out", "faces", "duration_in", "duration_out", "sound", "loss")
    head = "source", "target", "frames in", "out", "face", "seconds in", "out", "sound", "loss", "took"
    lines = [table_head(head)]
    for row in rows:
        cells = [row["error"], *[""] * (len(names) - 1)] if "error" in row else [str(row[name]) for name in names]
        lines.append(table_row([row["source"], row["target"], *cells, row["seconds"]]))
    return "\n".join(lines)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    rows = result.pop("rows")
    for name, value in result.items():
        click.echo(f"{name}: {value}")
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    click.echo(table_head(["", *columns]))
    for name, row in rows.items():
        click.echo(table_row([name, *(row.get(column, "") for column in columns)]))


for command in (tables, dip, bench_score, bench_invert, motion):
    bench.add_command(command)
