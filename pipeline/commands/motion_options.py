"""Options of the motion: what is taken from a source, and how much of it arrives where."""

from __future__ import annotations

import click

from pipeline.commands.options import decorate

_MOTION = (
    click.option("--gain", type=float, default=None, help="How much of the motion is applied. [default: 1.0]"),
    click.option("--layers", default=None, metavar="A-B", help="What moves, such as 0-5 or 0,2,4. [default: all]"),
    click.option("--amplitude", type=click.Choice(["source", "model"]), default="source", show_default=True,
                 help="Move as far as the source does, or as far as is typical for the model."),
    click.option("--reference", type=click.Choice(["mean", "nearest"]), default=None,
                 help="The target's own pose stands for the source's mean, or for the frames most like it. "
                 "[default: mean]"),
    click.option("--rehearse/--no-rehearse", default=None,
                 help="Move head, mouth and eyes as the target's own picture does when it is made to perform. "
                 "[default: rehearse]"),
    click.option("--tune/--no-tune", default=None,
                 help="Let the generator learn to draw the target, at rest and moving. [default: tune]"),
    click.option("--carry", type=float, default=None, metavar="SHARE",
                 help="How much is then added of what else the source does. [default: 0.1]"),
    click.option("--limit/--no-limit", default=None, help="No code moves farther than the model's own differ. "
                 "[default: no limit]"),
    click.option("--hold-colour/--free-colour", default=None,
                 help="Keep the mean colour of the picture whatever the source's light does. [default: hold]"),
    click.option("--head-motion", type=click.Choice(["none", "roll", "all"]), default=None,
                 help="Put back the source's roll, or roll, place and size, which alignment took away. "
                 "[default: roll]"),
    click.option("--size", type=int, default=None, help="Side of the video, px. [default: the model's resolution]"),
)  # fmt: skip
_POSE = (
    click.option("--smooth", type=float, default=None, help="Width of the window, seconds. [default: 0.12]"),
    click.option("--filter", "method", default=None,
                 type=click.Choice(["moving-average", "gaussian", "savitzky-golay", "one-euro"]),
                 help="What smooths; one-euro looks at no later frame. [default: moving-average]"),
    click.option("--shrink", type=float, default=None, metavar="SHARE",
                 help="Draw the motion so far towards what is pose in this model. [default: 0]"),
)  # fmt: skip

motion_options = decorate(_MOTION)
pose_options = decorate(_POSE)
