"""Training a model on a folder of faces."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from pipeline.commands.options import PATH, make_folder, pick_device
from pipeline.commands.terminal import print_path
from reanimate.errors import ConfigError, MediaError

FACES = "faces.npz"
COUNT = click.IntRange(min=1)
RESOLUTIONS = (8, 16, 32, 64, 128, 256, 512, 1024)  # px
CROP_SIDE = 128  # px; crops are kept at this size for models of any smaller one


@click.command()
@click.argument("faces_dir", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The bundle to write; its work lies in OUTPUT.training.")
@click.option("--resolution", type=int, default=64, show_default=True, help="R of the model, px, a power of two.")
@click.option("--images", type=COUNT, default=100_000, show_default=True, help="Faces shown in all.")
@click.option("--batch", type=COUNT, default=8, show_default=True, help="Faces per step.")
@click.option("--channel-base", type=COUNT, default=2048, show_default=True, help="Channels times resolution.")
@click.option("--channel-max", type=COUNT, default=256, show_default=True, help="Channels at most.")
@click.option(
    "--features", type=PATH, default=None, help="npz of SqueezeNet weights for the perceptual part of the loss."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=None, help="Stop after so many; the same command goes on."
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the step: worth it from about 10 minutes on.")
@click.option("--prepare-only", is_flag=True, help="Only align the photographs into OUTPUT.training/faces.npz.")
@click.option("--source", default=None, help="What the photographs are, for the card. [default: the folder's name]")
@click.option("--licence", default="unknown", show_default=True, help="Of the weights, for the card.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def train(
    faces_dir: Path, output: Path, minutes: float | None, features: Path | None, compiled: bool, prepare_only: bool,
    source: str | None, licence: str, device: str, resolution: int, images: int, batch: int, channel_base: int,
    channel_max: int,
) -> None:  # fmt: skip
    """Train a generator and its encoder on FACES_DIR.

    FACES_DIR is a folder per person, or a faces.npz that was prepared before. A tenth of the people, by a hash of the
    name, is never trained on. The same command goes on where it stopped.

    Example: reanimate train photographs -o mymodel --images 200000
    """
    from reanimate.inversion.features import SqueezeNetFeatures
    from reanimate.training.autoencoder import TrainingConfig
    from reanimate.training.data import load_faces
    from reanimate.training.run import Training

    if resolution not in RESOLUTIONS:
        raise ConfigError("resolution", f"{resolution} is not one of {', '.join(map(str, RESOLUTIONS))}")
    if channel_base < resolution:
        raise ConfigError("channel-base", f"{channel_base} leaves no channel at {resolution} px; use a multiple of it")
    work = output.with_name(f"{output.name}.training")
    make_folder(work)
    packed = _aligned(faces_dir, work)
    faces = load_faces(packed)
    click.echo(f"{len(faces.names)} faces, {int(faces.held_out.sum())} of them held out", err=True)
    if prepare_only:
        print_path(packed)
        return
    config = TrainingConfig(
        resolution=resolution, images=images, batch=batch, channel_base=channel_base, channel_max=channel_max
    )
    config = replace(config, first_resolution=min(config.first_resolution, resolution))  # a small model has no more
    network = SqueezeNetFeatures(features) if features is not None else None
    training = Training(work, config, faces, network, pick_device(device), compiled=compiled)
    if not training.run(_Progress(training.model.images, images), minutes=float("inf") if minutes is None else minutes):
        click.echo(f"stopped at {training.model.images} of {images} images; the same command goes on", err=True)
        return
    card = training.export(output, output.name, licence, source or faces_dir.name)
    click.echo(f"{output}  digest {card.digest[:12]}")


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
    with click.progressbar(length=1, label="aligning", file=sys.stderr) as bar:
        for done, total, data in prepare(folder, CROP_SIDE, os.cpu_count() or 1):
            bar.length = total
            bar.update(done - bar.pos)
            if data is not None:
                partial = packed.with_name(f"{packed.name}.partial")
                partial.write_bytes(data)
                partial.replace(packed)


class _Progress:
    """A line now and then: images seen, images a second, time left, losses."""

    def __init__(self, images: int, total: int) -> None:
        self._first, self._total, self._started, self._said = images, total, time.monotonic(), 0.0

    def __call__(self, images: int, losses: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._said < 10:
            return
        self._said = now
        speed = (images - self._first) / (now - self._started)
        left = (self._total - images) / max(speed, 1e-9) / 60
        words = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        click.echo(f"{images} of {self._total} images, {speed:.1f} a second, {left:.0f} min left; {words}", err=True)
