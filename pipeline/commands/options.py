"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.commands.terminal import TerminalReporter
from reanimate.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from pipeline.graph import Model
    from pipeline.store import Store
    from reanimate.inversion.invert import Inverter

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov"}  # whose players take an mp4

_MODEL = (
    click.option("--model", default="faces", show_default=True,
                 help="A model's name, a bundle's folder, or an official checkpoint."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
)  # fmt: skip
_INVERSION = (
    *_MODEL,
    click.option(
        "--preset",
        type=click.Choice(["fast", "best", "paper"]),
        default="fast",
        show_default=True,
        help="How much work an inversion is: few passes a frame, many, or the paper's 1000 from zeros.",
    ),
    click.option("--face", default=None, metavar="N|left|right|largest",
                 help="Whose face of the source is followed; N counts from the left. [default: largest]"),
    click.option("--on-missing-face", type=click.Choice(["error", "interpolate", "ignore"]), default=None,
                 help="What a frame without a face means. [default: interpolate]"),
    click.option("--config", "config_file", type=PATH, default=None, help="TOML file with a table per stage."),
    click.option("--set", "sets", multiple=True, metavar="STAGE.KEY=VALUE", help="One setting; may be repeated."),
    click.option("--cache-dir", type=PATH, default=None, help="Where finished stages are kept."),
)  # fmt: skip
_CODES = (
    click.option("--space", type=click.Choice(["z", "w", "w+"]), default=None,
                 help="Where the code lives. [default: w+]"),
    click.option("--init", type=click.Choice(["zeros", "mean", "encoder"]), default=None, help="Where it starts."),
    click.option("--loss", type=click.Choice(["multiscale", "features", "vgg16"]), default=None,
                 help="What is minimised."),
    click.option("--norm", type=int, default=None, help="1 or 2: the p of |a - b|^p. [default: 1]"),
    click.option("--steps", type=int, default=None, help="Passes of the generator at most."),
    click.option("--optimiser", type=click.Choice(["curvature", "adam", "sgd"]), default=None,
                 help="What turns gradients into steps."),
    click.option("--lr", type=float, default=None, help="Step size, in units of W's RMS."),
)  # fmt: skip
_RUNNING = (
    click.option("--until", default=None, metavar="STAGE", help="Stop after this stage."),
    click.option("--force", multiple=True, metavar="STAGE", help="Run this stage again; may be repeated."),
)


def decorate(options: tuple[Callable[[Command], Command], ...]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of the help text."""
    return lambda command: functools.reduce(lambda done, option: option(done), reversed(options), command)


model_options = decorate(_MODEL)
inversion_options = decorate(_INVERSION)
code_options = decorate(_CODES)
running_options = decorate(_RUNNING)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


no_align_option = click.option("--no-align", is_flag=True, help="The pictures are crops already.")


@dataclass(frozen=True, slots=True)
class Setup:
    """A model, the settings that follow from flags and files, a cache and a device."""

    model: Model
    chosen: dict[str, Any]
    store: Store
    device: str


def prepare(**flags: Any) -> Setup:
    """What the shared options of a command stand for; options a command lacks are left at their defaults.

    Raises:
        ConfigError, MediaError, ModelError: a value is wrong, or a file is.
    """
    from pipeline.graph import open_model, settings
    from pipeline.models import find_model
    from pipeline.store import Store

    store, reporter = Store(cache_dir(flags.get("cache_dir"))), TerminalReporter()
    model = open_model(str(find_model(flags["model"], store, reporter)))
    overrides = {
        "track": {"face": flags.get("face")},
        "align": {"on_missing_face": flags.get("on_missing_face")},
        "refine": {"shrink": flags.get("shrink")},
        "smooth": {"seconds": flags.get("smooth"), "method": flags.get("method")},
        "apply": {name: flags.get(name) for name in ("gain", "reference", "rehearse", "carry", "limit")}
        | {"layers": parse_layers(flags.get("layers"))},
        "rehearse": {"tune": flags.get("tune")},
        "synthesize": {"hold_colour": flags.get("hold_colour")},
        "encode": {name: flags.get(name) for name in ("size", "head_motion")},
        "invert": flags.get("invert") or {},
    }
    chosen = settings(
        model,
        flags.get("preset", "fast"),
        file=flags.get("config_file"),
        sets=tuple(flags.get("sets") or ()),
        amplitude=flags.get("amplitude") or "source",
        flags=overrides,
    )
    if "imported_from" in model.card.provenance and chosen["invert"].loss == "multiscale":
        reporter.say(f"{model.card.name} has no features of its own: the loss is multi-scale L1; --set "
                     "invert.loss=vgg16 uses VGG16 where its weights can be fetched")  # fmt: skip
    return Setup(model, chosen, store, pick_device(flags["device"]))


def prepare_codes(**flags: Any) -> Setup:
    """What the shared options and those of `code_options` stand for.

    Raises:
        ConfigError, MediaError, ModelError: a value is wrong, or a file is.
    """
    codes = {name: flags.pop(name) for name in ("space", "init", "loss", "norm", "optimiser", "lr")}
    codes["first_steps"] = flags.pop("steps")
    return prepare(**flags, invert=codes)


def open_inverter(setup: Setup) -> Inverter:
    """The setup's model, loaded, with its loss and parameters."""
    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.inversion.invert import Inverter
    from reanimate.inversion.losses import make_loss

    params = setup.chosen["invert"]
    bundle = load_bundle(str(setup.model.folder), setup.device)
    loss = make_loss(params.loss, params.norm, device=setup.device, own=bundle.features)
    return Inverter(bundle.generator, bundle.encoder, loss, params)


def cache_dir(given: Path | None) -> Path:
    """The cache: as given, $REANIMATE_CACHE, or the user's cache folder."""
    if given is not None:
        return given
    if os.environ.get("REANIMATE_CACHE"):
        return Path(os.environ["REANIMATE_CACHE"])
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "reanimate"
    except RuntimeError as error:  # a user without a name, as in a container
        raise ConfigError("cache-dir", "there is no home folder to keep a cache in; pass --cache-dir") from error


def pick_device(name: str) -> str:
    """A torch device that exists; `auto` is the GPU if there is one.

    Raises:
        ConfigError: torch does not know it, or it is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise ConfigError("device", f"{name!r} is not supported; use auto, cpu, cuda or cuda:N")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where CUDA is not compiled in
        raise ConfigError("device", f"{name!r} is not at hand; use auto or cpu") from error
    return str(device)


def parse_layers(text: str | None) -> tuple[int, ...] | None:
    """`0-3,7` as (0, 1, 2, 3, 7).

    Raises:
        ConfigError: not such a list.
    """
    if text is None:
        return None
    layers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        fits = first.isdecimal() and (last or first).isdecimal() and len(part.strip()) <= 7
        if not fits or int(first) > int(last or first):
            raise ConfigError("layers", f"{text!r} is not a list of layers such as 0-3,7")
        layers += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(layers))


def videos_in(folder: Path) -> list[Path]:
    """Its videos by their endings, in name order."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in {".mp4", ".mov", ".mkv", ".webm"})


def check_output(path: Path) -> None:
    """Return quietly if a file can be written at `path`, before hours are spent on what goes there.

    Raises:
        MediaError: it cannot.
    """
    if path.is_dir():
        raise MediaError(path, "cannot write (is a folder)")
    if path.exists() and not path.is_file():  # it would be replaced, were it /dev/null itself
        raise MediaError(path, "cannot write (is not a regular file)")
    if not path.parent.is_dir():
        raise MediaError(path, "cannot write (no such folder)")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise MediaError(path, "cannot write (permission denied)")


def check_video_output(path: Path, *inputs: Path) -> None:
    """Return quietly if a video can be written at `path` without harm to what it is made from.

    Raises:
        MediaError: it cannot.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise MediaError(path, "cannot write (videos are written as mp4; give a name that ends in .mp4)")
    check_output(path)
    _check_apart(path, inputs)


def _check_apart(path: Path, inputs: tuple[Path, ...]) -> None:
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise MediaError(path, "is an input too; give -o another name")


def check_picture_output(path: Path, *inputs: Path) -> None:
    """Return quietly if a picture can be written at `path` without harm to what it is made from.

    Raises:
        MediaError: it cannot.
    """
    if path.suffix.lower() != ".png":
        raise MediaError(path, "cannot write (pictures are written as png; give a name that ends in .png)")
    check_output(path)
    _check_apart(path, inputs)


def make_folder(path: Path) -> None:
    """Make a folder for results, if it is not there yet.

    Raises:
        MediaError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error


def deliver(made: Path, path: Path) -> None:
    """Copy a finished file out of the cache, all or nothing.

    Raises:
        MediaError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        shutil.copyfile(made, partial)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error
