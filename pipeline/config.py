"""Settings: a TOML file, then `--set stage.key=value`, then flags, into one checked dataclass per stage."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Union

from reanimate.errors import ConfigError, MediaError

MAX_FILE = 1 << 20  # bytes
_FRACTION = re.compile(r"-?[0-9]{1,18}(/[0-9]{1,18})?")  # Fraction() itself would expand 1e999999999
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text in utf-8", Path: "a path"}


def build(
    sections: Mapping[str, type],
    *,
    file: Path | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One instance per section of `sections` {name: params dataclass}; later sources win: file, sets, overrides.

    An override that is None is a flag that was not given. `defaults` are instances whose values stand in for the
    dataclass's own defaults.

    Raises:
        ConfigError: a section or key is unknown, or a value is of the wrong type or out of range.
        MediaError: the file is missing or is not TOML.
    """
    given: dict[str, dict[str, _Given]] = {name: {} for name in sections}
    for section, table in _read(file).items() if file else ():
        if not isinstance(table, dict):
            raise ConfigError(section, f"expects a table [{section}], got {show(table)}")
        for key, value in table.items():
            _place(sections, given, section, key, _Given(value))
    for text in sets:
        name, equals, value = text.partition("=")
        section, dot, key = (part.strip() for part in name.partition("."))
        if not (equals and dot and section and key):
            raise ConfigError("--set", f"expects stage.key=value, got {show(text)}")
        _place(sections, given, section, key, _Given(_literal(value), value.strip()))
    for section, flags in (overrides or {}).items():
        for key, flag in flags.items():
            if flag is not None:
                _place(sections, given, section, key, _Given(flag))
    bases = {name: dataclasses.asdict(base) for name, base in (defaults or {}).items()}
    return {name: _make(name, kind, given[name], bases.get(name, {})) for name, kind in sections.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class _Given:
    value: object
    raw: str | None = None
    """The text as typed, for a setting that is text: `--set model.name=123`."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that looks most like this one."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def _place(
    sections: Mapping[str, type], given: dict[str, dict[str, _Given]], section: str, key: str, value: _Given
) -> None:
    if section not in sections:
        raise ConfigError(section, f"there is no such section; the nearest is {nearest(section, sections)}")
    known = [field.name for field in dataclasses.fields(sections[section]) if field.init]
    if not known:
        raise ConfigError(f"{section}.{key}", f"{section} has no settings")
    if key not in known:
        raise ConfigError(f"{section}.{key}", f"there is no such setting; the nearest is {nearest(key, known)}")
    given[section][key] = value


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise MediaError(file, f"larger than the {MAX_FILE} bytes that settings may take")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise MediaError(file, (error.strerror or str(error)).lower()) from error
    except tomllib.TOMLDecodeError as error:  # says the line itself
        reason = str(error)
        raise MediaError(file, f"not valid toml: {reason[:1].lower()}{' '.join(reason[1:].split())}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MediaError(file, f"not valid toml: not utf-8 text (at line {line})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise MediaError(file, "not valid toml: a value is too long or nested too deep") from error


def _literal(text: str) -> object:
    """A TOML value, or the text itself where it is a bare word."""
    if "\n" in text or "\r" in text:  # a second line would be a second setting
        return text.strip()
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def _make(section: str, kind: type, given: Mapping[str, _Given], base: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    values = dict(base)
    for field in dataclasses.fields(kind):
        key = f"{section}.{field.name}"
        if field.name in given:
            try:
                values[field.name] = _convert_given(given[field.name], hints[field.name])
            except ValueError as error:
                raise ConfigError(key, str(error)) from error
        elif (
            field.name not in values
            and field.init
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise ConfigError(key, f"has no default; pass --set {key}=VALUE")
    try:
        return kind(**values)
    except ConfigError as error:
        key = error.key if error.key.startswith(f"{section}.") else f"{section}.{error.key}"
        raise ConfigError(key, str(error).removeprefix(f"setting {error.key}: ")) from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        named = [name for name in hints if re.match(rf"{name}\b", reason)]
        if named:
            reason = reason.removeprefix(named[0]).strip(" :")
        raise ConfigError(f"{section}.{named[0]}" if named else section, reason) from error


def _convert_given(given: _Given, hint: Any) -> Any:
    try:
        return convert(given.value, hint)
    except ValueError:
        if given.raw is None or isinstance(given.value, str):
            raise
        try:  # 123 and 2020-01-01 are also words
            return convert(given.raw, hint)
        except ValueError:
            pass
        raise


def convert(value: object, hint: Any) -> Any:
    """A value from TOML, JSON or a flag as the type a field declares.

    A whole number will do for a float, a list for a tuple, "30000/1001" for a fraction, "none" for None.

    Raises:
        ValueError: it is of another type, or not finite; the message says what was expected and what came.
        TypeError: the field declares a type that settings cannot have.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(value, arguments)
    if origin is Literal:
        for choice in arguments:
            if type(choice) is type(value) and choice == value:
                return value
        raise ValueError(f"expects one of {', '.join(str(choice) for choice in arguments)}, got {show(value)}")
    if origin is tuple:
        return _tuple(value, arguments)
    if hint is Fraction:
        return fraction(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        for member in hint:
            if value is member or (type(member.value) is type(value) and member.value == value):
                return member
        raise ValueError(f"expects one of {', '.join(str(member.value) for member in hint)}, got {show(value)}")
    return _scalar(value, hint)


def _scalar(value: object, hint: Any) -> Any:
    if hint is Any or hint is object:
        return value
    if hint is types.NoneType:
        if value is None or value == "none":
            return None
        raise ValueError(f"expects none, got {show(value)}")
    if hint not in _NAMES:
        raise TypeError(f"settings cannot be of type {hint!r}")
    if hint is Path and isinstance(value, str | Path) and "\0" not in str(value):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise ValueError(f"expects a finite number, got {show(value)}")
    if type(value) is hint and (hint is not str or _is_utf8(str(value))):
        return value
    raise ValueError(f"expects {_NAMES[hint]}, got {show(value)}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # an argument of the command line may be any bytes
        return False
    return True


def _union(value: object, choices: tuple[Any, ...]) -> Any:
    # text first, so that "none" stays a word where words are allowed
    failed = []
    for choice in sorted(choices, key=lambda choice: choice is types.NoneType):
        try:
            return convert(value, choice)
        except ValueError as error:
            failed.append(str(error))
    if len(failed) == 2 and types.NoneType in choices:
        raise ValueError(failed[0])
    expected = (reason.partition(", got ")[0].removeprefix("expects ") for reason in failed)
    raise ValueError(f"expects {' or '.join(expected)}, got {show(value)}")


def _tuple(value: object, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"expects a list, got {show(value)}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(convert(item, kinds[0]) for item in value)
    if len(value) != len(kinds):
        raise ValueError(f"expects a list of {len(kinds)}, got {show(value)}")
    return tuple(convert(item, kind) for item, kind in zip(value, kinds, strict=True))


def fraction(value: object) -> Fraction:
    """A fraction from one, from a whole number, or from text such as "30000/1001".

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, Fraction) or (isinstance(value, int) and not isinstance(value, bool)):
        return Fraction(value)
    if isinstance(value, str) and _FRACTION.fullmatch(value) and not re.search(r"/0+$", value):
        return Fraction(value)
    raise ValueError(f"expects a fraction such as 30000/1001, got {show(value)}")


def show(value: object) -> str:
    """A value short enough for one line, control characters escaped."""
    try:
        text = f"{value}" if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
        return "a value too long to show"
    return text if len(text) <= 60 else text[:57] + "..."
