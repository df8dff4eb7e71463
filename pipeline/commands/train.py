"""Training a model on a folder of faces."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import PATH, make_folder, pick_device
from pipeline.commands.terminal import print_path
from reanimate.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from reanimate.checkpoints.bundle import Bundle
    from reanimate.training.run import Config

FACES = "faces.npz"
FAMILIES = ("stylegan2", "pggan", "mescheder")
COUNT = click.IntRange(min=1)
RESOLUTIONS = (8, 16, 32, 64, 128, 256, 512, 1024)  # px
STEPS: dict[str, Any] = {"generator_lr": 1.5e-3, "encoder_lr": 3e-4}  # of networks that know faces already
CROP_SIDE = 128  # px; crops are kept at this size for models of any smaller one


@click.command()
@click.argument("faces_dir", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The bundle to write; its work lies in OUTPUT.training.")
@click.option(
    "--recipe",
    type=click.Choice(("autoencoder", "adversarial", "grow", "plain")),
    default="autoencoder",
    show_default=True,
    help="Without an adversary, for a CPU; with one, for a GPU; --start grown to twice its resolution; or a generator "
    "alone, to compare families.",
)
@click.option(
    "--family",
    type=click.Choice(FAMILIES),
    default="stylegan2",
    show_default=True,
    help="Of the generator; those without styles take the recipe plain.",
)
@click.option("--start", default=None, help="A model, by name or folder, to go on from or to grow.")
@click.option(
    "--resolution", type=int, default=None, help="R of the model, px, a power of two. [default: 64, 128 or 32]"
)
@click.option("--images", type=COUNT, default=None, help="Faces shown in all. [default: 100,000, or 1,000,000]")
@click.option("--batch", type=COUNT, default=None, help="Faces per step. [default: 8, 64 or 32]")
@click.option(
    "--channel-base", type=COUNT, default=None, help="Channels times resolution. [default: 2048, 4096 or 1024]"
)
@click.option("--channel-max", type=COUNT, default=None, help="Channels at most. [default: 256, 384 or 128]")
@click.option(
    "--features", type=PATH, default=None, help="npz of SqueezeNet weights for the perceptual part of the loss."
)
@click.option(
    "--identity/--no-identity", default=True, help="Use dlib's descriptor where its file lies beside the faces."
)
@click.option(
    "--swap/--no-swap",
    default=True,
    show_default=True,
    help="Faces made to perform teach codes to add, and landmarks where the face is.",
)
@click.option(
    "--distil",
    type=click.IntRange(min=0),
    default=1_200,
    show_default=True,
    help="Batches in which --features teaches the model features of its own, for its default loss.",
)
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=None, help="Stop after so many; the same command goes on."
)
@click.option(
    "--bfloat16/--float32",
    default=None,
    help="Of convolutions in the recipe autoencoder. [default: bfloat16 where the device multiplies that faster]",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the step: worth it from about 10 minutes on.")
@click.option("--prepare-only", is_flag=True, help="Only write the files that training reads: faces and identity.")
@click.option("--source", default=None, help="What the photographs are, for the card. [default: the folder's name]")
@click.option("--licence", default="unknown", show_default=True, help="Of the weights, for the card.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def train(
    faces_dir: Path, output: Path, minutes: float | None, features: Path | None, compiled: bool, prepare_only: bool,
    source: str | None, licence: str, device: str, identity: bool, distil: int, start: str | None,
    bfloat16: bool | None, **settings: Any,
) -> None:  # fmt: skip
    """Train a generator on a folder of faces, and its encoder.

    FACES_DIR is a folder per person, or a faces.npz that was prepared before. A tenth of the people, by a hash of the
    name, is never trained on. The same command goes on where it stopped; only --images may change.

    What --prepare-only writes is all that a machine without dlib needs.

    Example: reanimate train photographs -o mymodel --images 200000
    """
    import torch

    from reanimate.inversion.features import SqueezeNetFeatures
    from reanimate.inversion.precision import multiplies_bfloat16
    from reanimate.training.data import load_faces
    from reanimate.training.distil import face_window
    from reanimate.training.identity import Identity, pack_identity
    from reanimate.training.likeness import Likeness
    from reanimate.training.plain import PlainConfig
    from reanimate.training.run import Training

    place = pick_device(device)
    begin = _beginning(start, settings, place) if start is not None else None
    if bfloat16 is None:
        bfloat16 = multiplies_bfloat16(torch.device(place))
    config = _config(begin, bfloat16=bfloat16, **settings)
    work = output.with_name(f"{output.name}.training")
    make_folder(work)
    packed = _aligned(faces_dir, work)
    faces = load_faces(packed)
    click.echo(f"{len(faces.names)} faces, {int(faces.held_out.sum())} of them held out", err=True)
    described = packed.with_name(f"{packed.stem}.identity.npz")
    if identity and not described.is_file() and (prepare_only or faces_dir.is_dir()):
        _write_last(pack_identity(faces), described, "describing")
    if prepare_only:
        print_path(packed)
        return
    network = SqueezeNetFeatures(features).to(place) if features is not None else None
    person = Identity(described, faces, place) if identity and described.is_file() else None
    window = None
    if not isinstance(config, PlainConfig) and config.swap:
        window = face_window(faces.known_landmarks).to(place)
    training = Training(work, config, faces, Likeness(network, person, window), place, compiled=compiled, start=begin)
    images = training.model.config.images
    done = training.run(
        _Progress(training.model.images, images),
        every=max(4_000, images // 25),
        minutes=float("inf") if minutes is None else minutes,
    )
    if not done:
        click.echo(f"stopped at {training.model.images} of {images} images; the same command goes on", err=True)
        return
    own = training.own_features(distil, _Progress(0, distil, "batches"))
    card = training.export(output, output.name, licence, source or faces_dir.name, own)
    click.echo(f"{output}  digest {card.digest[:12]}")


def _beginning(name: str, settings: dict[str, Any], device: str) -> Bundle:
    """The model that training goes on from, whose sizes `settings` then hold."""
    from reanimate.checkpoints.bundle import find_bundle, load_bundle
    from reanimate.training.networks import networks_of

    bundle = load_bundle(str(find_bundle(name)), device)
    generator, encoder = networks_of(bundle)
    if settings["recipe"] == "plain":
        raise ConfigError("start", "the recipe plain begins with random weights; use another")
    if settings["recipe"] in ("autoencoder", "grow") and generator.config.mapping_layers != 1:
        raise ConfigError("start", f"{bundle.card.name} was trained with an adversary; go on with --recipe adversarial")
    grows = settings["recipe"] == "grow"
    sizes = {"resolution": generator.resolution * (1 + grows), "channel_base": None, "channel_max": None}
    if any(settings[n] not in (None, size) for n, size in sizes.items()):
        raise ConfigError("start", "brings its own resolution and channels; leave them out")
    settings |= sizes
    if not grows:
        settings |= {"channel_base": encoder.config.channel_base, "channel_max": encoder.config.channel_max}
    return bundle


def _config(start: Bundle | None, recipe: str, family: Any, swap: bool, bfloat16: bool, **given: int | None) -> Config:
    from reanimate.training.adversarial_config import AdversarialConfig
    from reanimate.training.autoencoder import AutoencoderConfig
    from reanimate.training.growth import GrowthConfig
    from reanimate.training.plain import PlainConfig

    sizes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if recipe != "plain" and family != "stylegan2":
        reason = f"{family} has no styles, which the encoder of the {recipe} recipe reads; use --recipe plain"
        raise ConfigError("family", reason)
    config: Config
    if recipe == "plain":
        config = replace(PlainConfig(family), **sizes)
    elif recipe == "grow":
        if start is None:
            raise ConfigError("start", "the recipe grow needs a model to grow; give --start")
        config = replace(GrowthConfig(swap=swap), **sizes)
    elif recipe == "adversarial":
        config = replace(AdversarialConfig(swap=swap), **sizes)
        if start is not None:  # both networks know faces
            config = replace(config, hybrid_at=0.0)
    else:
        config = replace(AutoencoderConfig(swap=swap, bfloat16=bfloat16), **sizes)
        config = replace(config, first_resolution=min(config.first_resolution, config.resolution))  # it has no more
        if start is not None:
            config = replace(config, grow_at=0.0, feature_ramp=(-1.0, 0.0), **STEPS)
    if config.resolution not in RESOLUTIONS:
        raise ConfigError("resolution", f"{config.resolution} is not one of {', '.join(map(str, RESOLUTIONS))}")
    if not isinstance(config, GrowthConfig) and config.channel_base < config.resolution:
        reason = f"{config.channel_base} leaves no channel at {config.resolution} px; use a multiple of it"
        raise ConfigError("channel-base", reason)
    if recipe not in ("plain", "grow") and swap and config.batch % 2:
        raise ConfigError("batch", f"{config.batch} is odd, and movements are exchanged in pairs; or give --no-swap")
    if recipe == "adversarial" and config.batch < 2:
        raise ConfigError("batch", f"{config.batch} is too few for the adversarial recipe, which divides it")
    return config


def _aligned(faces_dir: Path, work: Path) -> Path:
    if faces_dir.is_file():
        return faces_dir
    packed = work / FACES
    if packed.is_file():
        click.echo(f"note: {packed} holds the faces as aligned before; remove it to align them again", err=True)
    else:
        _prepare(faces_dir, packed)
    return packed


def _prepare(folder: Path, packed: Path) -> None:
    from reanimate.training.data import prepare

    if not folder.is_dir():
        raise MediaError(folder, "no such folder")
    _write_last(prepare(folder, CROP_SIDE, os.cpu_count() or 1), packed, "aligning")


def _write_last(work: Iterator[tuple[int, int, bytes | None]], path: Path, label: str) -> None:
    """Write what a piece of work gives at its end, with a bar until then."""
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:
        for done, total, data in work:
            bar.length = total
            bar.update(done - bar.pos)
            if data is not None:
                partial = path.with_name(f"{path.name}.partial")
                partial.write_bytes(data)
                partial.replace(path)


class _Progress:
    """A line now and then: images seen, images a second since the last line, time left, losses."""

    def __init__(self, images: int, total: int, what: str = "images") -> None:
        self._before, self._total, self._said, self._what = images, total, time.monotonic(), what

    def __call__(self, images: int, losses: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._said < 10:
            return
        speed = (images - self._before) / (now - self._said)
        self._before, self._said = images, now
        left = (self._total - images) / max(speed, 1e-9) / 60
        words = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        click.echo(
            f"{images} of {self._total} {self._what}, {speed:.1f} a second, {left:.0f} min left; {words}", err=True
        )
