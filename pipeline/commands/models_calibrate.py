"""What the pipeline needs to know of a model, into its card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import PATH, Setup, json_option, prepare
from pipeline.commands.terminal import TerminalReporter, print_path
from reanimate.errors import ModelError

if TYPE_CHECKING:
    from reanimate.types import UInt8

SHOWN = 4  # frames of each clip that stand for real faces


@click.command()
@click.argument("model", metavar="BUNDLE")
@click.option("--clip", "clips", type=PATH, multiple=True, help="A video of someone speaking; may be repeated.")
@click.option("--faces", type=click.IntRange(16, 4096), default=512, show_default=True, help="Drawn and looked at.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--cache-dir", type=PATH, default=None, help="Where finished stages are kept.")
@json_option
def calibrate(model: str, clips: tuple[Path, ...], faces: int, as_json: bool, **flags: Any) -> None:
    """Measure what `run` needs to know of BUNDLE.

    BUNDLE is a model's name or folder; its model.json then holds which layers carry motion, how far faces move, how
    much of it the encoder gives back, and how many passes are worth their time. With --clip, the last and the typical
    pose are measured on real faces. The weights, and so the digest, stay what they are.

    Example: reanimate models calibrate mymodel --clip talk.mp4
    """
    from pipeline.manifest import MANIFEST
    from reanimate.checkpoints.bundle import write_card

    setup = prepare(model=model, **flags)
    folder = setup.model.folder
    if (folder / MANIFEST).exists():  # a result of the cache must stay what its manifest says
        raise ModelError(model, "is not a bundle of its own; import it under a name: reanimate models import FILE")
    if not os.access(folder, os.W_OK):
        raise ModelError(model, f"{folder} cannot be written; calibrate a copy of it, and give that to --model")
    reporter = TerminalReporter()
    measured = _measure(setup, clips, faces, reporter)
    try:
        write_card(folder, replace(setup.model.card, measured=_merged(setup.model.card.measured, measured)))
    except OSError as error:
        raise ModelError(model, f"cannot write its card ({(error.strerror or str(error)).lower()})") from error
    if as_json:
        click.echo(json.dumps(measured, indent=2))
        return
    for name, value in measured.items():
        click.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
    print_path(folder)


def _measure(setup: Setup, clips: tuple[Path, ...], faces: int, reporter: TerminalReporter) -> dict[str, Any]:
    import numpy as np

    from reanimate.calibration import calibrate as measure
    from reanimate.calibration import look_at, workload
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.inversion.losses import make_loss

    moved = [_move(setup, clip, reporter) for clip in clips]
    crops = np.concatenate([shown for _, shown in moved]) if moved else None
    bundle = load_bundle(str(setup.model.folder), setup.device)
    params = setup.chosen["invert"]
    loss = make_loss(params.loss, params.norm, device=setup.device, own=bundle.features)
    reporter.start("calibrate", workload(bundle, faces))
    measured = measure(bundle, loss, faces, crops, look_at, reporter.advance)
    reporter.finish()
    if "typical_pose_rms" not in measured:
        share = f"{measured['faces_seen']:.0%}"
        reporter.say(f"a face is seen in {share} of the model's pictures only; what needs faces is left out")
    if moved:
        measured["typical_pose_rms"] = round(float(np.sqrt(np.mean([scale**2 for scale, _ in moved]))), 5)
        measured["typical_pose_from"] = f"{len(moved)} clip{'' if len(moved) == 1 else 's'}"
    return measured


def _move(setup: Setup, clip: Path, reporter: TerminalReporter) -> tuple[float, UInt8]:
    """How far the codes of a clip move, W+ units RMS, and some of its crops [N, R, R, 3]."""
    from pipeline.artefacts import load_deltas
    from pipeline.graph import pose_nodes
    from pipeline.runner import execute
    from pipeline.stages.align import CROPS
    from pipeline.streams import open_frames
    from reanimate.types import spread

    nodes = pose_nodes(clip, setup.model, setup.chosen)
    made = execute([nodes["align"], nodes["decompose"]], setup.store, reporter, setup.device)
    crops = open_frames(made["source/align"] / CROPS)
    shown = crops[spread(len(crops), SHOWN)]
    return load_deltas(made["source/decompose"]).scale, shown


def _merged(before: Mapping[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """What was measured before by other means stays."""
    from reanimate.calibration import MEASURED

    return {name: value for name, value in before.items() if name not in MEASURED} | measured
