"""The command line: parse, call, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline.commands.bench import bench
from pipeline.commands.cache import cache
from pipeline.commands.doctor import doctor
from pipeline.commands.evaluate import evaluate
from pipeline.commands.faces import faces
from pipeline.commands.inpaint import inpaint
from pipeline.commands.invert import invert
from pipeline.commands.mix import mix
from pipeline.commands.models import models
from pipeline.commands.motion_options import motion_options, pose_options
from pipeline.commands.options import (
    PATH,
    check_video_output,
    deliver,
    inversion_options,
    prepare,
    running_options,
)
from pipeline.commands.pose import pose
from pipeline.commands.score import score
from pipeline.commands.terminal import TerminalReporter, print_error, print_path
from pipeline.commands.train import train
from pipeline.commands.upscale import upscale
from reanimate import __version__
from reanimate.errors import ReanimateError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="reanimate")
def root() -> None:
    """Make a still portrait move like the person in a video."""


@root.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("-o", "--output", type=PATH, default=None, help="The video to write. [default: TARGET_SOURCE.mp4]")
@inversion_options
@motion_options
@pose_options
@running_options
def run(
    source: Path, target: Path, output: Path | None, until: str | None, force: tuple[str, ...], **flags: Any
) -> None:
    """Make TARGET move like the person in SOURCE.

    SOURCE is a video; TARGET is a picture, or a video whose mean face is taken. The result keeps SOURCE's frames,
    frame rate and sound.

    Example: reanimate run clip.mp4 portrait.jpg -o out.mp4
    """
    from pipeline.graph import run_graph
    from pipeline.runner import execute, plan
    from pipeline.stages.encode import VIDEO

    output = output or Path(f"{target.stem}_{source.stem}.mp4")
    if until is None:
        check_video_output(output, source, target)
    setup = prepare(**flags)
    goal = run_graph(source, target, setup.model, setup.chosen)
    idle = all(step.status == "cached" and not step.forced for step in plan([goal], setup.store, force, until))
    made = execute([goal], setup.store, TerminalReporter(), setup.device, force, until)
    if idle:
        click.echo("nothing to do: every stage is in the cache", err=True)
    if until is not None:
        for label in [label for label in made if until in (label, label.rpartition("/")[2])]:
            print_path(made[label])
        return
    deliver(made[goal.label] / VIDEO, output)
    print_path(output)


@root.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@inversion_options
@motion_options
@pose_options
@running_options
def plan(source: Path, target: Path, until: str | None, force: tuple[str, ...], **flags: Any) -> None:
    """Say what `run` would do, and why.

    Every stage with its reason, then frames, passes, time and disk at most. Nothing is run or written, but that an
    official checkpoint given as --model is imported.

    Example: reanimate plan clip.mp4 portrait.jpg --gain 1.2
    """
    from pipeline.commands.plan import describe
    from pipeline.graph import run_graph
    from pipeline.runner import plan as make_plan

    setup = prepare(**flags)
    goal = run_graph(source, target, setup.model, setup.chosen)
    steps = make_plan([goal], setup.store, force, until)
    click.echo(describe(steps, {"source": source, "target": target}, setup))


for command in (pose, faces, invert, inpaint, upscale, score, mix, evaluate, bench, models, train, cache, doctor):
    root.add_command(command)


def main() -> None:
    """Run the command line; the exit code is 0 done, 1 a bad file or value, 2 wrong usage, 130 interrupted."""
    try:
        sys.exit(root(prog_name="reanimate", standalone_mode=False) or 0)
    except click.ClickException as error:
        if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
            _fail(error.format_message().replace("Invalid value", "invalid value", 1))
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)
    except ReanimateError as error:
        _fail(str(error))
    except OSError as error:  # of a file that no stage and no writer answers for
        reason = (error.strerror or str(error)).lower()
        _fail(f"{error.filename}: {reason}" if error.filename is not None else reason)
    except MemoryError:
        _fail("not enough memory")


def _fail(message: str) -> NoReturn:
    print_error(message)
    sys.exit(1)


if __name__ == "__main__":
    main()
