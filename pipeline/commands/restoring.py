"""What inpaint and upscale share: the prior that is asked for, and the face that it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from pipeline.commands.options import code_options, inversion_options, no_align_option, open_inverter, prepare_codes

if TYPE_CHECKING:
    from reanimate.restore.priors import Prior

Command = TypeVar("Command", bound=Callable[..., Any])
PriorName = Literal["generator", "dip", "plain"]

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


def open_tool(name: PriorName, **flags: Any) -> Tool:
    """The prior that the options of a command stand for.

    Raises:
        ConfigError, MediaError, ModelError, WeightsUnavailable: a value is wrong, a file is, or weights are missing.
    """
    from reanimate.restore.dip import DeepImagePrior, DipParams
    from reanimate.restore.priors import GeneratorPrior, Plain

    steps = flags.get("steps")
    setup = prepare_codes(**flags)
    resolution = setup.model.config.resolution
    if name == "plain":
        return Tool(Plain(), resolution, 0, setup.device)
    if name == "dip":
        params = DipParams() if steps is None else DipParams(steps=steps)
        return Tool(
            DeepImagePrior(replace(params, seed=setup.chosen["invert"].seed)), resolution, params.steps, setup.device
        )
    inverter = open_inverter(setup)
    prior = GeneratorPrior(inverter.generator, inverter.encoder, inverter.loss, inverter.params)
    return Tool(prior, resolution, inverter.params.first_steps, setup.device)
