"""The training run around the networks: state on disk, sheets and curves to look at, and the bundle at the end."""

from __future__ import annotations

import json
import operator
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from reanimate.checkpoints.bundle import Bundle, Card, save_bundle
from reanimate.errors import MediaError, ModelError
from reanimate.images import sheet, to_pictures, write_image
from reanimate.inversion.features import FaceFeatures
from reanimate.training.adversarial import Adversarial
from reanimate.training.adversarial_config import AdversarialConfig
from reanimate.training.autoencoder import Autoencoder, AutoencoderConfig
from reanimate.training.batches import Batch, generator_at
from reanimate.training.data import Faces
from reanimate.training.distil import distil
from reanimate.training.growth import Growth, GrowthConfig
from reanimate.training.identity import exact_alignment
from reanimate.training.likeness import Likeness
from reanimate.training.plain import Plain, PlainConfig
from reanimate.training.swap import arrived, exchanged

STATE = "state.pt"
CURVES = "curves.jsonl"
SHEET_COLUMNS = 8
SAMPLE_SEED = 1
SMALLEST_SEEN = 32  # px; a perceptual network's last maps need so many
PATIENCE = (
    5  # measurements without a better held-out loss, in the last phase, after which more images only teach by heart
)
# of an unreadable file, of a pickle that is none or would run code, of missing and of wrong entries
_NO_STATE = (
    OSError, EOFError, pickle.UnpicklingError, LookupError, TypeError, ValueError, AttributeError, RuntimeError
)  # fmt: skip


Config = AutoencoderConfig | AdversarialConfig | GrowthConfig | PlainConfig


class Training:
    """A run in a folder: `state.pt` to go on from, `curves.jsonl`, and pictures of both.

    The same folder continues where it stopped; `config.images` may have grown or shrunk, anything else may not.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        faces: Faces,
        likeness: Likeness,
        device: str,
        *,
        compiled: bool = False,
        start: Bundle | None = None,
    ) -> None:
        """`start` is a bundle whose networks training goes on from; the recipe `plain` knows none.

        Raises ModelError: the folder holds another run; MediaError: it cannot be written.
        """
        self.folder, self.faces, self.start = folder, faces, start
        held_out = faces.held_out
        self.train_index, self.test_index = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        if not len(self.train_index) or not len(self.test_index):
            raise MediaError(folder, "too few people: none is left to train on, or none to measure on")
        self.model: Autoencoder | Adversarial | Growth | Plain
        if isinstance(config, AdversarialConfig):
            self.model = Adversarial(config, faces, likeness, device, compiled=compiled, start=start)
        elif isinstance(config, GrowthConfig):
            if start is None:
                raise ValueError("only a trained model grows")
            self.model = Growth(config, faces, likeness, device, start)
        elif isinstance(config, PlainConfig):
            self.model = Plain(config, faces, likeness, device, compiled=compiled)
        else:
            self.model = Autoencoder(config, faces, likeness, device, compiled=compiled, start=start)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(folder, f"cannot write ({(error.strerror or str(error)).lower()})") from error
        if (folder / STATE).is_file():
            self._resume(folder / STATE)

    def _resume(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.model.device, weights_only=True)
            before, now = dict(state["config"]), asdict(self.model.config)
            state["images"] = operator.index(state["images"])
            differing = sorted(k for k in now if k != "images" and now[k] != before.get(k))
            if differing:
                raise ModelError(path, f"was trained with other settings ({', '.join(differing)}); give another folder")
            self.model.restore(state)
        except _NO_STATE as error:
            raise ModelError(path, "is not a training state; remove it to begin again") from error

    def run(
        self, report: Callable[[int, dict[str, float]], None], *, every: int = 4_000, minutes: float = float("inf")
    ) -> bool:
        """Train to the configured number of images, or until held-out faces stop getting better; True when done, False
        when the minutes ran out first.

        Every `every` images the state is saved, held-out faces are measured and sheets are drawn; `report` gets the
        images seen and the latest losses about once a second.
        """
        model, started, reported = self.model, time.monotonic(), 0.0
        losses: dict[str, torch.Tensor] = {}
        next_save = (model.images // every + 1) * every
        while model.images < model.config.images:
            losses = model.step()
            now = time.monotonic()
            if now - reported > 1:  # reading a loss waits for the device: rarely
                reported = now
                report(model.images, {name: float(value) for name, value in losses.items()})
            if next_save <= model.images < model.config.images:  # the last is saved below
                next_save += every
                self.save({name: float(value) for name, value in losses.items()}, now - started)
                if self.is_stale():
                    break
            if now - started > minutes * 60:
                break
        self.save({name: float(value) for name, value in losses.items()}, time.monotonic() - started)
        return model.images >= model.config.images or self.is_stale()

    def save(self, losses: dict[str, float], seconds: float) -> None:
        """State, one more line of the curves, and the pictures."""
        partial = self.folder / f"{STATE}.partial"
        torch.save(self.model.state(), partial)
        partial.replace(self.folder / STATE)
        row = {"images": self.model.images, "seconds": round(seconds, 1), **losses, **self.measure()}
        with (self.folder / CURVES).open("a") as file:
            file.write(json.dumps({k: round(v, 5) for k, v in row.items()}) + "\n")
        self.draw()

    @torch.no_grad()
    def measure(self, count: int = 256) -> dict[str, float]:
        """Mean distances of held-out reconstructions: L1, and those that there is a network for; without an encoder
        there are none.
        """
        if self.model.networks.encoder is None:
            return {}
        totals: dict[str, list[float]] = {}
        for chosen in _chunks(self.test_index[:count], 32):
            real, fake = self.model.networks.reconstruct(chosen)
            index = torch.from_numpy(chosen).to(fake.device)
            batch = Batch(real, index, exact_alignment(len(chosen), fake.device))
            for name, value in self.model.likeness.parts(fake, batch).items():
                totals.setdefault(f"held_out_{name}", []).append(float(value))
        return {name: float(np.mean(values)) for name, values in totals.items()} | self._moved(count)

    def _moved(self, count: int) -> dict[str, float]:
        """How much of what a movement changes in held-out faces is in their own reconstructions, and how much of it in
        those of others who are moved by the same difference of codes.
        """
        networks, device = self.model.networks, self.model.device
        pairs = min(count, len(self.test_index)) // 2
        if not pairs:
            return {}
        index = torch.from_numpy(self.test_index[: 2 * pairs]).to(device)
        some = networks.batches.cut(index, exact_alignment(len(index), device))
        before, after = networks.batches.performed(some, generator_at(SAMPLE_SEED, 0, device))
        codes, then = (networks.encoder_average(acting.pictures) for acting in (before, after))
        still, own, other = (
            networks.generator_average.synthesis(ws, "none") for ws in (codes, then, codes + exchanged(then - codes))
        )
        return {
            "held_out_moves": float(arrived(still, own, before, after)),
            "held_out_moves_of_others": float(arrived(still, other, before, after)),
        }

    def is_stale(self) -> bool:
        """Whether held-out faces have stopped getting better in the last phase."""
        first = self.model.last_phase_at * self.model.config.images
        rows = [row for row in _rows(self.folder) if row["images"] > first]
        name = "held_out_features" if self.model.likeness.features is not None else "held_out_l1"
        losses = [row[name] for row in rows]
        return len(losses) > PATIENCE and min(losses[-PATIENCE:]) >= min(losses[:-PATIENCE])

    def draw(self) -> None:
        """`reconstructions.png` (held-out faces over their reconstructions), `samples.png`, `curves.png`."""
        rows: list[list[Any]] = []
        if self.model.networks.encoder is not None:
            for chosen in _chunks(self.test_index[: 4 * SHEET_COLUMNS], SHEET_COLUMNS):
                real, fake = self.model.networks.reconstruct(chosen)
                rows += [list(to_pictures(real)), list(to_pictures(fake))]
            write_image(self.folder / "reconstructions.png", sheet(rows), synthetic=True)
        self.model.fit_w(self.train_index[:2048])
        pictures = list(to_pictures(self.samples(4 * SHEET_COLUMNS)))
        rows = [pictures[i : i + SHEET_COLUMNS] for i in range(0, len(pictures), SHEET_COLUMNS)]
        write_image(self.folder / "samples.png", sheet(rows), synthetic=True)
        _draw_curves(self.folder)

    @torch.no_grad()
    def samples(self, count: int, truncation_psi: float = 0.8) -> torch.Tensor:
        """[count, 3, R, R] random faces of the averaged generator; `fit_w` must have run."""
        generator = self.model.networks.generator_average
        z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(SAMPLE_SEED))
        ws = generator.mapping(z.to(self.model.device), truncation_psi=truncation_psi)
        pictures: torch.Tensor = generator.synthesis(ws)
        return pictures

    def own_features(self, steps: int, report: Callable[[int, dict[str, float]], None]) -> FaceFeatures | None:
        """Perceptual features of the model's own, taught by the large network in `steps` batches; None where there is
        none, or pictures are too small for it.
        """
        teacher, networks = self.model.likeness.features, self.model.networks
        if teacher is None or networks.encoder is None or not steps or self.model.config.resolution < SMALLEST_SEEN:
            return None
        return distil(teacher, networks.batches, self.faces.known_landmarks, networks.rebuilt, report, steps=steps)

    def export(self, folder: Path, name: str, licence: str, source: str, features: FaceFeatures | None = None) -> Card:
        """Write the averaged networks as a bundle, with `features` or those of the model that training went on from."""
        taught = "distilled from SqueezeNet 1.1 on the same faces"
        if features is None and self.start is not None:
            features, taught = self.start.features, self.start.card.provenance.get("features", taught)
        w = self.model.fit_w(self.train_index)
        provenance = {
            "trained_on": source,
            "method": self.model.method,
            "people_held_out": len({n.rpartition("/")[0] for n in self.faces.names[self.faces.held_out]}),
            "faces_trained_on": len(self.train_index),
            "images_seen": self.model.images,
            "device": torch.device(self.model.device).type,
            "torch": torch.__version__.partition("+")[0],
            "settings": asdict(self.model.config),
            **({"features": taught} if features is not None else {}),
            **({"started_from": history(self.start.card)} if self.start is not None else {}),
        }
        average = self.model.networks.generator_average
        spread = round(float((w - w.mean(0)).square().mean().sqrt()), 4)
        measured = {"w_rms": spread, **_size(average), **self.measure()}
        encoder = self.model.networks.encoder_average
        return save_bundle(folder, name, average, encoder, provenance, measured, licence, features=features)


def history(card: Card) -> dict[str, Any]:
    """How the model of a card was made, as a part of the card of one that goes on from it."""
    names = "method", "images_seen", "device", "settings", "started_from"
    return {"digest": card.digest, **{n: card.provenance[n] for n in names if n in card.provenance}}


@torch.no_grad()
def _size(generator: Any) -> dict[str, int]:
    """Numbers that a generator holds, and multiply-adds of one picture by its convolutions and products of matrices."""
    z = torch.randn(1, generator.z_dim, device=generator.w_avg.device)
    with FlopCounterMode(display=False) as flops:
        generator.synthesis(generator.mapping(z))
    weights = sum(parameter.numel() for parameter in generator.parameters())
    return {"weights": weights, "multiply_adds": flops.get_total_flops() // 2}


def _chunks(index: np.ndarray[Any, Any], size: int) -> list[np.ndarray[Any, Any]]:
    return [index[i : i + size] for i in range(0, len(index), size)]


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / CURVES).read_text().splitlines()]


def _draw_curves(folder: Path) -> None:
    from matplotlib.figure import Figure

    lines = _rows(folder)
    figure = Figure(figsize=(12, 4))
    axes = figure.subplots(1, 3)
    for axis, name in zip(axes, ("l1", "features", "identity"), strict=True):
        for curve in (name, f"held_out_{name}"):
            points = [(line["images"], line[curve]) for line in lines if curve in line]
            if points:
                axis.plot(*zip(*points, strict=True), label=curve)
        axis.set(xlabel="images seen", yscale="log")
        if axis.lines:
            axis.legend()
    figure.tight_layout()
    figure.savefig(folder / "curves.png")
