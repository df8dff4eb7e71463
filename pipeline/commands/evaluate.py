"""Judging a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import PATH, cache_dir, check_output, json_option
from pipeline.commands.terminal import TerminalReporter, print_path

if TYPE_CHECKING:
    from reanimate.metrics import LpipsNet

_UNITS = {"yaw": "°", "pitch": "°", "roll": "°"}


@click.command()
@click.argument("result", type=PATH)
@click.option("--source", type=PATH, required=True, help="The video whose performance it should show.")
@click.option("--target", type=PATH, required=True, help="The picture or video whose face it should show.")
@click.option("-o", "--output", type=PATH, default=None, help="Draw the curves as a picture here.")
@click.option(
    "--resolution",
    type=click.IntRange(32, 1024),
    default=128,
    show_default=True,
    help="Side of the source's crops that are the ceiling, px.",
)
@click.option(
    "--require",
    "wanted",
    multiple=True,
    metavar="NAME>=VALUE",
    help="Exit with 1 unless this holds, such as mouth>=0.7, distance<=0.5 or motion.yaw.amplitude>0.8; "
    "may be repeated.",
)
@click.option(
    "--lpips",
    type=click.Choice(["alex", "vgg"]),
    default=None,
    help="Also measure LPIPS to the target with this network; its weights are fetched once.",
)
@click.option("--cache-dir", "folder", type=PATH, default=None, help="Where finished stages are kept.")
@json_option
def evaluate(
    result: Path, source: Path, target: Path, output: Path | None, resolution: int, wanted: tuple[str, ...],
    lpips: LpipsNet | None, folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure the motion and the identity that RESULT shows.

    RESULT is a video that `run` made of these two. Head pose, mouth and eyes over time are compared with the source's,
    beside a ceiling: the source's own crops seen by the same detector. Identity is the distance of dlib's descriptor;
    below 0.6 it is the same person.

    Example: reanimate evaluate out.mp4 --source clip.mp4 --target portrait.jpg
    """
    from pipeline.commands.draw import draw_curves
    from pipeline.evaluation import evaluate as measure
    from pipeline.requirements import check, parse
    from pipeline.store import Store

    if output is not None:
        check_output(output)
    required = [parse(text) for text in wanted]
    found = measure(result, source, target, Store(cache_dir(folder)), TerminalReporter(), resolution, lpips)
    click.echo(json.dumps(found.report, indent=2) if as_json else describe(found.report))
    if output is not None:
        draw_curves(found.curves, found.info.frame_rate, output)
        if not as_json:
            print_path(output)
    check(found.report, required)


def describe(report: dict[str, Any]) -> str:
    """A report in words: a table of motion, then identity and flicker."""
    from reanimate.metrics import SAME_PERSON

    missing, identity, flicker = report["frames_without_face"], report["identity"], report["flicker"]
    jitter = report["jitter"]
    of_all = {name: _percent(identity[name]) for name in ("share_same_person", "share_nearer_target")}
    lines = [
        f"{report['frames']} frames at {report['frame_rate']} a second, {report['side']} px; "
        f"no face in {missing['result']} of the result's and {missing['source']} of the source's",
        "",
        "|   | correlation | ceiling | share | amplitude | ceiling | lag, frames | source's spread | range |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(name, row) for name, row in report["motion"].items()),
        "",
        f"ceiling: the source's own crops of {report['ceiling_side']} px; alignment takes most of the roll out",
        f"target: {_show(identity['distance_to_target'])} from it on average, "
        f"{_show(identity['worst_distance_to_target'])} at worst, under {SAME_PERSON} in {of_all['share_same_person']}",
        f"source: {_show(identity['distance_to_source'])} from it on average, nearer the target in "
        f"{of_all['share_nearer_target']}; the two are {_show(identity['target_to_source'])} apart",
        f"flicker: {_show(flicker['result'])}, {_show(flicker['ratio'])} times the source's {_show(flicker['source'])}",
        f"jitter: {_show(jitter['result'], 4)} eye spans per frame³, {_show(jitter['ratio'])} times the source's",
    ]
    if "lpips" in report:
        lines.append(f"LPIPS ({report['lpips']['net']}) to the target: {_show(report['lpips']['to_target'], 3)}")
    return "\n".join(lines)


def _row(name: str, row: dict[str, Any]) -> str:
    unit = _UNITS.get(name, "")
    digits = 1 if unit else 3
    cells = [
        *(_show(row[key]) for key in ("correlation", "ceiling", "share_of_ceiling", "amplitude", "amplitude_ceiling")),
        _show(row["lag_frames"], 1),
        *(f"{_show(row[key], digits)}{unit}" for key in ("spread", "range")),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _show(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # no minus zero


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
