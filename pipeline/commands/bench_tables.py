"""The paper's tables, measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.machine import machine
from pipeline.commands.options import (
    PATH,
    Setup,
    code_options,
    inversion_options,
    json_option,
    make_folder,
    no_align_option,
    open_inverter,
    prepare_codes,
)
from pipeline.commands.restoring import Task, restoring
from pipeline.commands.terminal import TerminalReporter, table_head, table_row
from reanimate.errors import ConfigError, MediaError, ReanimateError, WeightsUnavailable

if TYPE_CHECKING:
    from pipeline.commands.tables import Metric, Row
    from reanimate.inversion.invert import Preset
    from reanimate.metrics import LpipsNet

SQUARE, SIDE = 64, 256  # px of the paper's holes and pictures
PRIORS = ("pggan", "mescheder")  # what the paper compares with
PUBLISHED = {"w+": 0.345, "w": 0.398, "noise": 0.842}  # Table 2, LPIPS
TITLES = {
    1: "reconstruction, by generator",
    2: "reconstruction, by space",
    3: "inpainting of a square",
    4: "super-resolution",
}


@click.command()
@click.option("--images", "folder", type=PATH, required=True, help="Pictures, taken in name order.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder for what is drawn, kept to go on from; sheets.")
@click.option("--images-limit", type=click.IntRange(min=1), default=100, show_default=True, help="Pictures.")
@click.option("--held-out", is_flag=True, help="Only people that `train` never trains on.")
@click.option(
    "--prior",
    "priors",
    multiple=True,
    metavar="NAME=MODEL",
    help="Another generator to compare with, such as pggan=BUNDLE; may be repeated.",
)
@click.option(
    "--dip-steps", type=click.IntRange(min=0), default=None, help="Passes of Deep Image Prior. [default: as --steps]"
)
@click.option("--factor", type=click.IntRange(min=2), default=8, show_default=True, help="Of super-resolution.")
@click.option(
    "--downsampling",
    type=click.Choice(["nearest", "area", "bicubic"]),
    default="nearest",
    show_default=True,
    help="Of super-resolution; nearest is what the paper's code does.",
)
@click.option(
    "--features", type=PATH, default=None, help="npz of SqueezeNet weights: measure by its features, not by LPIPS."
)
@click.option("--lpips", type=click.Choice(["alex", "vgg"]), default="alex", show_default=True, help="Its network.")
@no_align_option
@code_options
@inversion_options
@json_option
def tables(
    folder: Path, output: Path, images_limit: int, held_out: bool, priors: tuple[str, ...], dip_steps: int | None,
    factor: int, downsampling: Any, features: Path | None, lpips: LpipsNet, no_align: bool, as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Measure what the paper's Tables 1 to 4 do.

    The published figure, where one is known, stands beside the measured one. The paper's holes are 64 px wide in
    pictures of 256 px; other sizes of model scale them. All rows minimise the same loss.

    Example: reanimate bench tables --images crops --no-align -o tables
    """
    from pipeline.commands.tables import Damage, compare, draw_all, open_exhibits, sheets
    from reanimate.restore.degradations import scaled

    setup = prepare_codes(**flags)
    resolution = setup.model.config.resolution
    if resolution % factor:
        raise ConfigError("factor", f"{factor} does not divide the model's {resolution} px")
    damage = Damage(scaled(SQUARE, resolution, SIDE), factor, downsampling)
    metric, unit = _metric(features, lpips, setup.device)
    rows = _rows(setup, _open_priors(priors, setup, flags), flags["preset"], dip_steps)
    make_folder(output)
    paths, reporter = choose(folder, held_out=held_out), TerminalReporter()
    exhibits = open_exhibits(folder, paths, images_limit, resolution, damage, align=not no_align, reporter=reporter)
    can = [row for row in rows if row.prior is not None]
    drawn = draw_all(can, exhibits, damage, output, setup.device, reporter)
    found = compare(rows, dict(zip(map(id, can), drawn, strict=True)), exhibits, metric)
    made = [str(path) for path in sheets(can, drawn, exhibits, damage, output)]
    about = {
        "machine": machine(setup.device), "model": setup.model.card.name, "pictures": len(exhibits),
        "side": resolution, "hole": damage.square, "factor": factor, "downsampling": downsampling, "distance": unit,
        "loss": setup.chosen["invert"].loss, "passes": setup.chosen["invert"].first_steps,
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps({**about, "rows": found, "sheets": made}, indent=2))
    else:
        _print(about, found)


def choose(folder: Path, *, held_out: bool) -> list[Path]:
    """The pictures below a folder in name order; with `held_out`, only of people that `train` never trains on.

    Raises:
        MediaError: there are none.
    """
    from reanimate.images import is_picture
    from reanimate.training.data import identity, is_held_out

    if not folder.is_dir():
        raise MediaError(folder, "no such folder")
    paths = sorted(path for path in folder.rglob("*") if is_picture(path))
    kept = [p for p in paths if not held_out or is_held_out(identity(p.relative_to(folder).as_posix()))]
    if not kept:
        raise MediaError(folder, f"no pictures{' of held-out people' if held_out else ''} in this folder")
    return kept


def _metric(features: Path | None, lpips: LpipsNet, device: str) -> tuple[Metric, str]:
    from pipeline.commands.tables import lpips_metric, squeezenet_metric
    from reanimate.inversion.features import SqueezeNetFeatures

    if features is not None:
        network = SqueezeNetFeatures(features).to(device)
        return squeezenet_metric(network), "SqueezeNet's features, unlearned weights (not LPIPS)"
    try:
        return lpips_metric(lpips), f"LPIPS, {lpips}"
    except WeightsUnavailable as error:
        raise ReanimateError(f"{error}; pass --features to measure by SqueezeNet's features") from error


def _open_priors(given: tuple[str, ...], setup: Setup, flags: Mapping[str, Any]) -> dict[str, Setup]:
    """The other generators by name."""
    found: dict[str, Setup] = {}
    for text in given:
        name, equals, model = text.partition("=")
        if not (name and equals and model) or name in found:
            raise ConfigError("prior", f"{text!r} is not NAME=MODEL with a name of its own")
        found[name] = prepare_codes(**{**flags, "model": model, "space": None, "loss": None})
        side, own = found[name].model.config.resolution, setup.model.config.resolution
        if side != own:
            raise ConfigError("prior", f"{name} draws {side} px and the model {own}; compare models of one size")
    return found


def _rows(setup: Setup, others: Mapping[str, Setup], preset: Preset, dip_steps: int | None) -> list[Row]:
    """All lines of all tables; what cannot be had says why."""
    from pipeline.commands.tables import Row
    from reanimate.restore.dip import DeepImagePrior, DipParams
    from reanimate.restore.priors import Plain

    lines, steps = Lines(setup, preset), setup.chosen["invert"].first_steps
    tasks: tuple[tuple[int, Task], ...] = ((1, "reconstruct"), (3, "inpaint"), (4, "upscale"))
    dip = DipParams(steps=steps if dip_steps is None else dip_steps, seed=setup.chosen["invert"].seed)
    rows: list[Row] = []
    for table, task in tasks:
        rows.append(lines.row(table, setup.model.card.name, task, setup))
        rows += [lines.row(table, name, task, other) for name, other in others.items()]
        rows += [
            Row(table, name, task, None, {}, f"no weights; pass --prior {name}=MODEL")
            for name in PRIORS if name not in others
        ]  # fmt: skip
        if table == 1:
            rows += [lines.row(2, space, task, setup, space) for space in PUBLISHED if setup.model.has_w]
            continue
        told = {"dip": asdict(dip)}
        rows.append(Row(table, f"Deep Image Prior, {dip.steps} passes", task, DeepImagePrior(dip), told))
        plain = "bicubic (not in the paper)" if table == 4 else "smooth fill (not in the paper)"
        rows.append(Row(table, plain, task, Plain(), {"plain": 1}))
    return rows


class Lines:
    """Makes lines of the model and of others, all with the model's loss."""

    def __init__(self, setup: Setup, preset: Preset) -> None:
        self.inverter, self.setup, self.preset = open_inverter(setup), setup, preset

    def row(self, table: int, name: str, task: Task, setup: Setup, space: Any = None) -> Row:
        """A line of a generator; `space` is another one than its usual."""
        from pipeline.commands.tables import Row
        from reanimate.checkpoints.bundle import load_bundle
        from reanimate.inversion.spaces import check_noise
        from reanimate.restore.priors import GeneratorPrior

        params = replace(setup.chosen["invert"], loss=self.inverter.params.loss)
        if space is not None:
            params = replace(params, space=space)
        params = restoring(params, self.preset, task)
        bundle = load_bundle(str(setup.model.folder), setup.device)
        published = PUBLISHED.get(space or "")
        if space == "noise":
            try:
                check_noise(bundle.generator, setup.model.card.name)
            except ConfigError:
                return Row(table, name, task, None, {}, "the model draws nothing of noise", published)
        prior = GeneratorPrior(bundle.generator, bundle.encoder, self.inverter.loss, params)
        told = {"params": asdict(params), "model": setup.model.card.digest, "loss": self.setup.model.card.digest}
        return Row(table, name, task, prior, told, published=published)


def _print(about: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    for name, value in about.items():
        click.echo(f"{name}: {value}")
    for table, title in TITLES.items():
        lines = [line for line in found if line["table"] == table]
        if not lines:
            continue
        inpaints = any("put_back" in line for line in lines)
        head = ["", "published LPIPS", "measured", "further from the truth than the first", *["put back"] * inpaints]
        click.echo(f"\n**Table {table}: {title}**\n\n{table_head(head)}")
        for line in lines:
            published = "-" if line["published"] is None else f"{line['published']:.3f}"
            cells = [line.get("absent", ""), "", *[""] * inpaints]
            if "distance" in line:
                names = ("distance", "further", *["put_back"] * inpaints)
                cells = [_interval(line[name]) for name in names]
            click.echo(table_row([line["row"], published, *cells]))


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
