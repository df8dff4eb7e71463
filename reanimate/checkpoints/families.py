"""The generators' families, and how little is believed of what a card or a file says of their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

from reanimate.errors import ModelError
from reanimate.generators.protocol import GeneratorConfig

MAX_RESOLUTION, MAX_WIDTH = 2048, 4096  # nobody may ask for more than any published model needs
MAX_LAYERS = 64
_LIMITS = {"resolution": MAX_RESOLUTION, "mapping_layers": MAX_LAYERS, "num_ws": MAX_LAYERS}  # of the rest, MAX_WIDTH
_MAY_BE_ZERO = ("mapping_layers",)  # as may be what is 0 or a list by default; nothing else
_NETWORKS = {  # by family, which is the module's name; the configuration's name ends in Config
    "stylegan1": "StyleGAN1",
    "stylegan2": "StyleGAN2",
    "stylegan3": "StyleGAN3",
    "pggan": "PGGAN",
    "mescheder": "Mescheder",
}


def family_types(family: str, model: str) -> tuple[type[Any], type[Any]]:
    """Configuration and network of a family.

    Raises:
        ModelError: there is no such family.
    """
    if family not in _NETWORKS:
        raise ModelError(model, f"family {family!r} is not known; known: {', '.join(_NETWORKS)}")
    module, name = import_module(f"reanimate.generators.{family}"), _NETWORKS[family]
    return getattr(module, f"{name}Config"), getattr(module, name)


def family_of(config: GeneratorConfig) -> str:
    """The family whose configuration this is."""
    return type(config).__module__.rpartition(".")[2]


def configure(config_type: type[Any], arguments: Mapping[str, Any], model: str) -> Any:
    """A configuration from JSON values: whole numbers and numbers within limits, choices, and lists of them.

    Raises:
        ModelError: a value is missing, unknown, of another type, out of range, or does not go with the others.
    """
    known = {field.name: field.default for field in fields(config_type)}
    hints, values = get_type_hints(config_type), {}
    for name, value in arguments.items():
        if name not in known:
            raise ModelError(model, f"the card claims {name[:40]!r}, which this family does not have")
        zero = known[name] == 0 or isinstance(known[name], tuple) or name in _MAY_BE_ZERO
        try:
            values[name] = _read(value, hints[name], _LIMITS.get(name, MAX_WIDTH), zero=zero)
        except ValueError as error:
            raise ModelError(model, f"the card claims {name} {str(value)[:40]!r}, which no model has") from error
    lacking = [name for name, default in known.items() if default is MISSING and name not in values]
    if lacking:
        raise ModelError(model, f"the card says nothing of {', '.join(lacking)}")
    if values["resolution"] not in (2**i for i in range(3, MAX_RESOLUTION.bit_length())):
        raise ModelError(model, f"resolution {values['resolution']} is not a power of two from 8 to {MAX_RESOLUTION}")
    try:
        return config_type(**values)
    except ValueError as error:
        raise ModelError(model, f"the card's sizes do not fit ({error})") from error


def _read(value: object, kind: Any, top: int, *, zero: bool) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list | tuple) and (value or zero) and len(value) <= MAX_LAYERS:
        return tuple(_read(item, arguments[0], top, zero=zero) for item in value)
    if origin is Literal and any(type(value) is type(choice) and value == choice for choice in arguments):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    numbers = {int: (int,), float: (int, float)}.get(kind, ())
    if type(value) in numbers and isinstance(value, int | float) and (0 < value <= top or (value == 0 and zero)):
        return kind(value)
    raise ValueError("of another kind, or out of range")
