"""What inpaint and upscale share: the prior that is asked for, and the face that it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from pipeline.commands.options import code_options, inversion_options, no_align_option, open_inverter, prepare_codes

if TYPE_CHECKING:
    from reanimate.inversion.invert import InvertParams, Preset
    from reanimate.restore.priors import Prior

Command = TypeVar("Command", bound=Callable[..., Any])
PriorName = Literal["generator", "dip", "plain"]
Task = Literal["reconstruct", "inpaint", "upscale"]
RESTORING_LR = 0.05  # Adam's, in units of W's RMS; with more, what nothing is known of leaves the faces that are known

_OPTIONS = (
    click.option(
        "--prior",
        type=click.Choice(["generator", "dip", "plain"]),
        default="generator",
        show_default=True,
        help="What stands in for what is lost: the model, Deep Image Prior, or none (smooth, bicubic).",
    ),
    click.option("--as-released", is_flag=True,
                 help="The released code's settings: zeros, 1000 passes, VGG16, its optimiser and step size."),
    no_align_option,
    code_options,
    inversion_options,
)  # fmt: skip


def restoring_options(command: Command) -> Command:
    """The options of a command that restores pictures."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Tool:
    """A prior, ready to use."""

    prior: Prior
    resolution: int
    """R, px."""
    passes: int
    """At most."""
    device: str


def open_tool(task: Task, name: PriorName, **flags: Any) -> Tool:
    """The prior that the options of a command stand for.

    Raises:
        ConfigError, MediaError, ModelError, WeightsUnavailable: a value is wrong, a file is, or weights are missing.
    """
    from reanimate.restore.dip import DeepImagePrior, DipParams
    from reanimate.restore.priors import GeneratorPrior, Plain

    if flags.pop("as_released"):
        flags |= {"preset": "paper", "loss": flags["loss"] or "vgg16"}
    setup, steps = prepare_codes(**flags), flags["steps"]
    resolution = setup.model.config.resolution
    if name == "plain":
        return Tool(Plain(), resolution, 0, setup.device)
    if name == "dip":
        dip = replace(DipParams() if steps is None else DipParams(steps=steps), seed=setup.chosen["invert"].seed)
        return Tool(DeepImagePrior(dip), resolution, dip.steps, setup.device)
    inverter = open_inverter(setup)
    params = restoring(inverter.params, flags["preset"], task)
    generator = GeneratorPrior(inverter.generator, inverter.encoder, inverter.loss, params)
    return Tool(generator, resolution, params.first_steps, setup.device)


def restoring(params: InvertParams, preset: Preset, task: Task) -> InvertParams:
    """Parameters for pictures of which only a part is known; an optimiser or step size that was asked for stays.

    The paper's are those of its released code: plain gradient descent for holes, Adam for the rest. L1 is not rounded
    off: whole pictures would come nearer, but what is not known of them would go further off (docs/restoration.md).
    """
    from reanimate.inversion.invert import PRESETS

    usual = PRESETS[preset]
    if (params.optimiser, params.lr) != (usual.optimiser, usual.lr) or task == "reconstruct":
        return params
    if preset == "paper":
        return replace(params, optimiser="sgd", lr=1e-2) if task == "inpaint" else params
    return replace(params, optimiser="adam", lr=RESTORING_LR, softness=0.0)
