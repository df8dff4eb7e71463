"""The curve of inverting a clip: passes and seconds against quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.commands.machine import machine
from pipeline.commands.options import PATH, check_output, inversion_options, json_option, prepare
from pipeline.commands.terminal import TerminalReporter, table_head, table_row

COLUMNS = (
    "frames", "passes", "seconds", "loss", "loss_slow", "squeezenet", "squeezenet_slow", "identity", "identity_slow",
    "flicker", "seams",
)  # fmt: skip


@click.command("invert")
@click.argument("clip", type=PATH)
@click.option("--features", type=PATH, default=None, help="npz of SqueezeNet weights: adds SqueezeNet distance.")
@click.option("--slow-frames", type=click.IntRange(min=3), default=4, show_default=True,
              help="Frames, spread over the clip, that the slow rows are measured on.")  # fmt: skip
@click.option("--row", "only", multiple=True, metavar="NAME", help="Only this row, by its whole name; repeatable.")
@click.option("--plot", type=PATH, default=None, help="PNG to draw quality over passes and over seconds into.")
@inversion_options
@json_option
def bench_invert(
    clip: Path, features: Path | None, slow_frames: int, only: tuple[str, ...], plot: Path | None, as_json: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Measure ways of inverting CLIP against each other.

    One clip, model and loss in one run: the paper's 1000 cold steps, cold runs at several step sizes, the usual
    projector, warm starts, the encoder alone, and the default with fewer and more passes. Slow rows run on a few
    frames; columns that end in _slow are means over those frames for every row. Identity is the distance of dlib's
    descriptors between a crop and its reconstruction; flicker is that of the reconstruction over the crops' own; seams
    are the steps of the code where lanes meet over those elsewhere. Seconds are per frame, tracking aside.

    Example: reanimate bench invert clip.mp4 --plot invert.png
    """
    import numpy as np

    from pipeline.artefacts import load_track
    from pipeline.commands.draw import draw_cost
    from pipeline.commands.inversions import Material, measure, named, ways
    from pipeline.graph import clip_nodes
    from pipeline.runner import execute
    from pipeline.stages.align import CROPS
    from pipeline.streams import open_frames
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.inversion.features import SqueezeNetFeatures
    from reanimate.inversion.precision import resolved
    from reanimate.inversion.spaces import w_rms
    from reanimate.types import spread

    if plot is not None:
        check_output(plot)
    setup = prepare(**flags)
    bundle = load_bundle(str(setup.model.folder), setup.device)
    every = ways(setup.chosen["invert"], bundle.encoder is not None, w_rms(bundle.generator))
    chosen = named(every, only)
    nodes = clip_nodes("source", clip, setup.model, setup.chosen)
    made = execute([nodes["track"], nodes["align"]], setup.store, TerminalReporter(), setup.device)
    track, _ = load_track(made["source/track"])
    network = SqueezeNetFeatures(features).to(setup.device) if features is not None else None
    known = np.flatnonzero(track.detected)
    crops, slow = open_frames(made["source/align"] / CROPS), known[spread(len(known), slow_frames)].tolist()
    material = Material(crops, track, bundle, setup.device, network, slow)
    rows = {}
    head = {"machine": machine(setup.device), "model": setup.model.card.name, "clip": clip.name, "slow_frames": slow}
    head["precision"] = resolved(bundle.generator, setup.chosen["invert"].precision)
    if not as_json:
        for name, value in head.items():
            click.echo(f"{name}: {value}")
        click.echo(table_head(["", *COLUMNS]))
    for name, row in measure(material, chosen):
        rows[name] = row
        if not as_json:
            click.echo(table_row([name, *([row["absent"]] if "absent" in row else [row.get(c, "") for c in COLUMNS])]))
    if as_json:
        click.echo(json.dumps({**head, "rows": rows}, indent=2))
    if plot is not None:
        draw_cost({name: row for name, row in rows.items() if "absent" not in row}, plot)
