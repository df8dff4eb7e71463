"""Performances as files: export, apply to anyone, look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands.motion_options import motion_options, pose_options
from pipeline.commands.options import (
    PATH,
    check_output,
    check_video_output,
    deliver,
    inversion_options,
    make_folder,
    prepare,
)
from pipeline.commands.terminal import TerminalReporter, print_path


@click.group()
def pose() -> None:
    """Export a performance, apply it to anyone, look at it."""


@pose.command()
@click.argument("source", type=PATH)
@click.option("-o", "--output", type=PATH, default=Path("pose.npz"), show_default=True, help="The file to write.")
@inversion_options
@pose_options
def export(source: Path, output: Path, **flags: Any) -> None:
    """Write the pose of SOURCE, a video, without the person's identity.

    Example: reanimate pose export clip.mp4 -o pose.npz
    """
    from pipeline.artefacts import load_deltas
    from pipeline.graph import pose_nodes
    from pipeline.runner import execute
    from reanimate.pose_file import save_pose

    check_output(output)
    setup = prepare(**flags)
    goal = pose_nodes(source, setup.model, setup.chosen)["smooth"]
    made = execute([goal], setup.store, TerminalReporter(), setup.device)
    save_pose(output, load_deltas(made[goal.label]))
    print_path(output)


@pose.command()
@click.argument("pose_file", metavar="POSE", type=PATH)
@click.argument("targets", metavar="TARGET...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, default=None, help="The video to write, for one target.")
@click.option("--out-dir", type=PATH, default=None, help="The folder for the videos of several targets.")
@inversion_options
@motion_options
def apply(pose_file: Path, targets: tuple[Path, ...], output: Path | None, out_dir: Path | None, **flags: Any) -> None:
    """Make each TARGET move as in POSE; the videos have no sound.

    Example: reanimate pose apply pose.npz ann.jpg bob.jpg --out-dir moved
    """
    from pipeline.graph import apply_graph
    from pipeline.runner import execute
    from pipeline.stages.encode import VIDEO

    if (output is None) == (out_dir is None) or (output is not None and len(targets) > 1):
        raise click.UsageError("give -o for one target, or --out-dir for several")
    if out_dir is not None:
        make_folder(out_dir)
    outputs = [output] if output is not None else [Path(out_dir or ".") / f"{t.stem}.mp4" for t in targets]
    if len(set(outputs)) < len(outputs):
        raise click.UsageError("two targets share a name; run them one by one with -o")
    for path in outputs:
        check_video_output(path, *targets)
    setup = prepare(**flags)
    for target, path in zip(targets, outputs, strict=True):
        goal = apply_graph(pose_file, target, setup.model, setup.chosen)
        made = execute([goal], setup.store, TerminalReporter(), setup.device)
        deliver(made[goal.label] / VIDEO, path)
        print_path(path)


@pose.command()
@click.argument("pose_file", metavar="POSE", type=PATH)
@click.option("-o", "--output", type=PATH, default=Path("pose.png"), show_default=True, help="The picture to write.")
def show(pose_file: Path, output: Path) -> None:
    """Draw POSE as a picture.

    It shows how far each layer moves over time, and the strongest movements.

    Example: reanimate pose show pose.npz -o pose.png
    """
    from pipeline.commands.draw import draw_pose
    from reanimate.pose_file import load_pose

    check_output(output)
    deltas = load_pose(pose_file)
    frames, layers, width = deltas.deltas.shape
    click.echo(f"{frames} frames at {deltas.frame_rate} per second, {layers} layers of {width}")
    click.echo(f"scale {deltas.scale:.4f} W+ units, normalised by {deltas.normalisation}, model {deltas.model[:12]}")
    draw_pose(deltas, output)
    print_path(output)
