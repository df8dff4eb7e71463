"""Keys: the name of a result, known before anything runs.

A key is sha256 over canonical JSON of [schema, stage, version, params, {role: key or file digest}]. Whatever does not
change the numbers (paths, dates, devices, worker counts) has no place in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import stat
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from reanimate.errors import MediaError

SCHEMA = 1  # bumped when keys or manifests change their form; older results are then made again
FIELDS = ("schema", "stage", "version", "params", "inputs")  # of a key document, in the order they are hashed
_BLOCK = 1 << 20  # bytes


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, floats by repr.

    Raises:
        TypeError: something in it has no place in a key, such as a path or a date.
        ValueError: a float in it is not finite.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: object, name: str = "value") -> Any:
    """A value as JSON holds it: tuples as lists, fractions as "n/d", enum members as their values.

    Raises:
        TypeError: something in it has no place in a key; the message calls it `name`.
        ValueError: a float in it is not finite.
    """
    if isinstance(value, Enum):
        return plain(value.value, name)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which no key can hold")
        return float(value)
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, list | tuple):
        return [plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_label(key, name): plain(item, f"{name}.{key}") for key, item in value.items()}
    raise TypeError(f"{name} is a {type(value).__name__}, which has no place in a key")


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"{name} is not text that utf-8 can hold") from error
    return str(value)


def _label(key: object, name: str) -> str:
    if type(key) is not str:  # an enum member or a number would be written as some text, and two could be the same
        raise TypeError(f"{name} has the key {key!r}, and only plain text can be one")
    return _text(key, name)


def params_document(params: object) -> dict[str, Any]:
    """The fields of a params dataclass that change numbers; `field(metadata={"key": False})` leaves one out.

    Raises:
        TypeError: not a dataclass instance, or a field holds what has no place in a key.
        ValueError: a field holds a float that is not finite.
    """
    if not dataclasses.is_dataclass(params) or isinstance(params, type):
        raise TypeError(f"parameters are a dataclass instance, not {params!r}")
    kind = type(params).__name__
    chosen = [field.name for field in dataclasses.fields(params) if field.metadata.get("key", True)]
    return {name: plain(getattr(params, name), f"{kind}.{name}") for name in chosen}


def key_document(stage: str, version: int, params: object, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What a key is made of, as JSON can hold it; `inputs` is {role: key or file digest}."""
    made_of = (SCHEMA, stage, version, params_document(params), plain(inputs, "inputs"))
    return dict(zip(FIELDS, made_of, strict=True))


def document_key(document: Mapping[str, object]) -> str:
    """The key, 64 hex digits, of a key document.

    Raises:
        ValueError, TypeError: not a key document.
    """
    if set(document) != set(FIELDS):
        raise ValueError("not a key document")
    return hashlib.sha256(canonical([document[name] for name in FIELDS]).encode()).hexdigest()


def stage_key(stage: str, version: int, params: object, inputs: Mapping[str, str]) -> str:
    """The key, 64 hex digits, of what a stage makes of these parameters and {role: key or file digest}."""
    return document_key(key_document(stage, version, params, inputs))


def file_digest(path: Path | str) -> str:
    """The contents of a file as "sha256:" and 64 hex digits.

    Raises:
        MediaError: the file is missing, cannot be read, or is not a regular file.
    """
    digest = hashlib.sha256()
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(path, "is a folder; give a file")
        if not stat.S_ISREG(mode):  # reading a pipe would use it up, and a device may never end
            raise MediaError(path, "is not a regular file; save it to disk first")
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise MediaError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a NUL in the name
        raise MediaError(repr(str(path)), "is not a file name") from error
    return f"sha256:{digest.hexdigest()}"
