"""Model bundles: a folder with model.json and safetensors.

model.json             family, sizes, digest, licence, provenance, and what the pipeline needs to know
generator.safetensors  float16 or float32
encoder.safetensors    optional
features.safetensors   optional: the model's own perceptual features
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reanimate.checkpoints.families import configure, family_of, family_types
from reanimate.errors import MediaError, ModelError
from reanimate.generators.protocol import Generator, GeneratorConfig
from reanimate.inversion.encoder import Encoder, EncoderConfig
from reanimate.inversion.features import FaceFeatures, FaceFeaturesConfig

SCHEMA = 1
DEFAULT_MODEL = "faces"
EMBEDDED = Path(__file__).parent.parent / "models"
CARD = "model.json"
GENERATOR, ENCODER, FEATURES = "generator.safetensors", "encoder.safetensors", "features.safetensors"
MAX_CARD_BYTES = 1 << 20
_PRECISIONS = (torch.float16, torch.float32)


@dataclass(frozen=True, slots=True)
class Card:
    """What model.json says."""

    name: str
    family: str
    config: Mapping[str, Any]
    """Arguments of the family's configuration."""
    digest: str
    """sha256 over the weights' digests, family and config: the model's name in every cache key."""
    files: Mapping[str, str]
    """File name to sha256."""
    encoder: Mapping[str, Any] | None = None
    """Arguments of EncoderConfig, if the bundle has an encoder."""
    licence: str = "unknown"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How the model was made: data, images seen, commands."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """What was measured of it: reconstruction, typical pose RMS, layers that carry motion."""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A model, ready to use, in evaluation mode and with frozen weights."""

    card: Card
    generator: Generator
    encoder: Encoder | None
    features: FaceFeatures | None = None


def find_bundle(model: str, own: Path | None = None) -> Path:
    """The folder of a bundle by its path, by an embedded model's name, or by the name of a folder in `own`.

    Raises:
        ModelError: there is none.
    """
    homes = [EMBEDDED, *([own] if own is not None else [])]
    for folder in (Path(model), *(home / model for home in homes)):
        try:
            if (folder / CARD).is_file():
                return folder
        except OSError:  # a name too long for a file is the name of none
            continue
    known = [folder.name for home in homes for folder in bundles(home)]
    raise ModelError(model, f"not found; give a bundle's folder, an official checkpoint, or one of: {', '.join(known)}")


def bundles(home: Path) -> list[Path]:
    """The bundles' folders in a folder, by name."""
    return sorted(path.parent for path in home.glob(f"*/{CARD}"))


def embedded_models() -> list[Card]:
    """The cards of the models that come with the package, by name."""
    return [read_card(folder) for folder in bundles(EMBEDDED)]


def read_card(folder: Path) -> Card:
    """The card of a bundle, checked but with nothing loaded.

    Raises:
        ModelError: model.json is missing, not JSON, or lacks or garbles an entry.
    """
    path = folder / CARD
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(folder, f"{CARD} is larger than {MAX_CARD_BYTES} bytes")
        data = json.loads(path.read_bytes())
        if data.pop("schema") != SCHEMA:
            raise ModelError(folder, f"{CARD} has another schema than {SCHEMA}; update reanimate or the bundle")
        card = Card(**data)
        tables = (card.config, card.files, card.provenance, card.measured, {} if card.encoder is None else card.encoder)
        texts = (card.name, card.family, card.licence)
        if not (all(isinstance(t, dict) for t in tables) and all(isinstance(t, str) for t in texts)):
            raise TypeError("wrong type")
        if card.digest != _digest(card.files, card.family, card.config):
            raise ValueError("its digest is not that of its files and sizes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(folder, f"{CARD} cannot be read ({error})") from error
    return card


def generator_config(card: Card, model: str) -> GeneratorConfig:
    """The configuration of a card's generator; nothing is loaded.

    Raises:
        ModelError: the family is not known, or no generator has such sizes.
    """
    config: GeneratorConfig = configure(family_types(card.family, model)[0], card.config, model)
    return config


def load_bundle(model: str, device: str = "cpu") -> Bundle:
    """A bundle by embedded name or path, its files checked against the card's digests.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its card.
    """
    folder = find_bundle(model)
    card = read_card(folder)
    config = generator_config(card, model)
    generator = _load(family_types(card.family, model)[1], config, folder, GENERATOR, card)
    encoder = None
    if card.encoder is not None:
        sizes = configure(EncoderConfig, card.encoder, model)
        fits = sizes.resolution >= 4 and config.resolution % sizes.resolution == 0
        if not fits or (sizes.num_ws, sizes.w_dim) != (config.num_ws, config.w_dim):
            raise ModelError(model, "the encoder's sizes are not the generator's")
        encoder = _load(Encoder, sizes, folder, ENCODER, card)
        encoder = encoder.to(device).eval().requires_grad_(False)
    features = None
    if FEATURES in card.files:
        features = _load(FaceFeatures, FaceFeaturesConfig(), folder, FEATURES, card)
        # on a CPU as the generator's activations are: a seventh less time
        order = torch.channels_last if torch.device(device).type == "cpu" else torch.preserve_format
        features = features.to(device, memory_format=order).eval().requires_grad_(False)
    return Bundle(card, generator.to(device).eval().requires_grad_(False), encoder, features)


def save_bundle(
    folder: Path,
    name: str,
    generator: Generator,
    encoder: Encoder | None,
    provenance: Mapping[str, Any],
    measured: Mapping[str, Any],
    licence: str,
    precision: torch.dtype = torch.float16,
    features: FaceFeatures | None = None,
) -> Card:
    """Write a bundle; the card goes last, so that a folder with a card is whole.

    Raises:
        MediaError: the folder cannot be written.
    """
    networks = {GENERATOR: generator, ENCODER: encoder, FEATURES: features}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            file: _save(network, folder / file, precision)
            for file, network in networks.items()
            if isinstance(network, nn.Module)
        }
        # as JSON has it: what is read back is what was written
        config = json.loads(json.dumps(asdict(generator.config)))  # type: ignore[call-overload]
        card = Card(
            name=name,
            family=family_of(generator.config),
            config=config,
            digest=_digest(files, family_of(generator.config), config),
            files=files,
            encoder=asdict(encoder.config) if encoder is not None else None,
            licence=licence,
            provenance=provenance,
            measured=measured,
        )
        write_card(folder, card)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(folder, f"cannot write ({reason.lower()})") from error
    return card


def write_card(folder: Path, card: Card) -> None:
    """Replace model.json in one step."""
    partial = folder / f"{CARD}.partial"
    partial.write_text(json.dumps({"schema": SCHEMA, **asdict(card)}, indent=2, ensure_ascii=False) + "\n")
    partial.replace(folder / CARD)


def check_weights(network: nn.Module, model: Path | str) -> None:
    """Return quietly if every number of a network is one.

    Raises:
        ModelError: some are infinite or none at all.
    """
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all():
            raise ModelError(model, f"{name} has numbers that are infinite or none at all")


def _digest(files: Mapping[str, str], family: str, config: Mapping[str, Any]) -> str:
    """Of all that decides a picture: the weights, and what the network does with them."""
    network = json.dumps([family, config], sort_keys=True)
    return hashlib.sha256("".join([*sorted(files.values()), network]).encode()).hexdigest()


def _load(network_type: type[Any], config: Any, folder: Path, file: str, card: Card) -> Any:
    try:
        size, digest = (folder / file).stat().st_size, _file_digest(folder / file)
    except OSError as error:
        raise ModelError(folder, f"{file} cannot be read ({(error.strerror or str(error)).lower()})") from error
    if digest != card.files.get(file):
        raise ModelError(folder, f"{file} is damaged: its digest is not the card's; fetch or make the bundle again")
    if 2 * config.fewest_weights > size:  # before a card is given more memory than its weights fill
        raise ModelError(folder, f"{file} is smaller than a network of the card's sizes")
    try:
        tensors = load_file(folder / file)  # mapped, not read
        if any(value.dtype not in _PRECISIONS for value in tensors.values()):
            raise ValueError("its numbers are neither float16 nor float32")
        network: nn.Module = network_type(config)
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()
        raise ModelError(folder, f"{file} does not fit the card ({first[-1].strip() if first else error})") from error
    check_weights(network, f"{folder}: {file}")
    return network


def _save(network: nn.Module, path: Path, precision: torch.dtype) -> str:
    """The digest of the file that is written."""
    state = {name: value.detach().to("cpu", precision).contiguous() for name, value in network.state_dict().items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(state, partial)
    partial.chmod(path.parent.stat().st_mode & 0o666)  # safetensors writes for the owner's eyes alone
    partial.replace(path)
    return _file_digest(path)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
