"""Model bundles: a folder with model.json and safetensors.

model.json             family, sizes, digest, licence, provenance, and what the pipeline needs to know
generator.safetensors  float16 or float32
encoder.safetensors    optional
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from reanimate.errors import MediaError, ModelError
from reanimate.generators.protocol import Generator
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from reanimate.inversion.encoder import Encoder, EncoderConfig

SCHEMA = 1
DEFAULT_MODEL = "faces"
EMBEDDED = Path(__file__).parent.parent / "models"
CARD = "model.json"
MAX_CARD_BYTES = 1 << 20
MAX_RESOLUTION, MAX_WIDTH = 2048, 4096  # a card may not ask for more than any published model needs
_LIMITS = {"channel_base": MAX_WIDTH * 64, "mapping_layers": 64, "num_ws": 64}  # of the rest, MAX_WIDTH
_FAMILIES: dict[str, tuple[type[Any], type[Any]]] = {"stylegan2": (StyleGAN2Config, StyleGAN2)}


@dataclass(frozen=True, slots=True)
class Card:
    """What model.json says."""

    name: str
    family: str
    config: Mapping[str, Any]
    """Arguments of the family's configuration."""
    digest: str
    """sha256 over the weights' digests: the model's name in every cache key."""
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


def find_bundle(model: str) -> Path:
    """The folder of an embedded model's name or of a path.

    Raises:
        ModelError: neither is there.
    """
    for folder in (Path(model), EMBEDDED / model):
        try:
            if (folder / CARD).is_file():
                return folder
        except OSError:  # a name too long for a file is the name of none
            continue
    known = sorted(p.parent.name for p in EMBEDDED.glob(f"*/{CARD}"))
    raise ModelError(model, f"not found; give a bundle's folder or one of: {', '.join(known)}")


def embedded_models() -> list[Card]:
    """The cards of the models that come with the package, by name."""
    return [read_card(path.parent) for path in sorted(EMBEDDED.glob(f"*/{CARD}"))]


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
        tables = (card.config, card.files, card.provenance, card.measured)
        texts = (card.name, card.family, card.licence)
        if not (all(isinstance(t, dict) for t in tables) and all(isinstance(t, str) for t in texts)):
            raise TypeError("wrong type")
        if card.digest != _digest(card.files):
            raise ValueError("its digest is not that of its files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(folder, f"{CARD} cannot be read ({error})") from error
    return card


def load_bundle(model: str, device: str = "cpu") -> Bundle:
    """A bundle by embedded name or path, its files checked against the card's digests.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its card.
    """
    folder = find_bundle(model)
    card = read_card(folder)
    if card.family not in _FAMILIES:
        raise ModelError(model, f"family {card.family!r} is not known; known: {', '.join(_FAMILIES)}")
    config_type, network_type = _FAMILIES[card.family]
    config = _configure(config_type, card.config, model)
    generator = _load(network_type, config, folder, "generator.safetensors", card)
    encoder = None
    if card.encoder is not None:
        sizes = _configure(EncoderConfig, card.encoder, model)
        if (sizes.resolution, sizes.num_ws, sizes.w_dim) != (config.resolution, config.num_ws, config.w_dim):
            raise ModelError(model, "the encoder's sizes are not the generator's")
        encoder = _load(Encoder, sizes, folder, "encoder.safetensors", card)
        encoder = encoder.to(device).eval().requires_grad_(False)
    return Bundle(card, generator.to(device).eval().requires_grad_(False), encoder)


def save_bundle(
    folder: Path,
    name: str,
    generator: StyleGAN2,
    encoder: Encoder | None,
    provenance: Mapping[str, Any],
    measured: Mapping[str, Any],
    licence: str,
) -> Card:
    """Write a bundle with float16 weights; the card goes last, so that a folder with a card is whole.

    Raises:
        MediaError: the folder cannot be written.
    """
    contents = {"generator.safetensors": _half(generator)}
    if encoder is not None:
        contents["encoder.safetensors"] = _half(encoder)
    files = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
    digest = _digest(files)
    card = Card(
        name=name,
        family="stylegan2",
        config=asdict(generator.config),
        digest=digest,
        files=files,
        encoder=asdict(encoder.config) if encoder is not None else None,
        licence=licence,
        provenance=provenance,
        measured=measured,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in contents.items():
            (folder / file).write_bytes(data)
    except OSError as error:
        raise MediaError(folder, f"cannot write ({(error.strerror or str(error)).lower()})") from error
    write_card(folder, card)
    return card


def write_card(folder: Path, card: Card) -> None:
    """Replace model.json in one step."""
    partial = folder / f"{CARD}.partial"
    partial.write_text(json.dumps({"schema": SCHEMA, **asdict(card)}, indent=2, ensure_ascii=False) + "\n")
    partial.replace(folder / CARD)


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(sorted(files.values())).encode()).hexdigest()


def _configure(config_type: type[Any], arguments: Mapping[str, Any], model: str) -> Any:
    try:
        config = config_type(**arguments)
    except TypeError as error:
        raise ModelError(model, f"the card's sizes do not fit ({error})") from error
    for name, kind in get_type_hints(config_type).items():
        value, top = getattr(config, name), _LIMITS.get(name, MAX_WIDTH)
        known = value in get_args(kind) if get_args(kind) else type(value) in (int, kind) and 0 < value <= top
        if not known:
            raise ModelError(model, f"the card claims {name} {value!r}, which no model has")
    if config.resolution not in (2**i for i in range(3, MAX_RESOLUTION.bit_length())):
        raise ModelError(model, f"resolution {config.resolution!r} is not a power of two from 8 to {MAX_RESOLUTION}")
    if config.channel_base < config.resolution:
        raise ModelError(model, f"channel_base {config.channel_base} leaves no channel at {config.resolution} px")
    return config


def _load(network_type: type[Any], config: Any, folder: Path, file: str, card: Card) -> Any:
    try:
        data = (folder / file).read_bytes()
    except OSError as error:
        raise ModelError(folder, f"{file} cannot be read ({(error.strerror or str(error)).lower()})") from error
    if hashlib.sha256(data).hexdigest() != card.files.get(file):
        raise ModelError(folder, f"{file} is damaged: its digest is not the card's; fetch or make the bundle again")
    if 2 * config.fewest_weights > len(data):  # before a card is given more memory than its weights fill
        raise ModelError(folder, f"{file} is smaller than a network of the card's sizes")
    network: nn.Module = network_type(config)
    try:
        tensors = load_tensors(data)
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (SafetensorError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()
        raise ModelError(folder, f"{file} does not fit the card ({first[-1].strip() if first else error})") from error
    return network


def _half(network: nn.Module) -> bytes:
    state = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in network.state_dict().items()}
    return save_tensors(state)
