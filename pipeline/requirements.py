"""What a report must say for a result to pass: `mouth>=0.7`."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reanimate.errors import ConfigError, ReanimateError

SHORT = {
    **{name: f"motion.{name}.correlation" for name in ("yaw", "pitch", "roll", "mouth", "eyes", "smile")},
    "distance": "identity.distance_to_target",
    "nearer": "identity.share_nearer_target",
    "flicker": "flicker.ratio",
    "jitter": "jitter.ratio",
    "lpips": "lpips.to_target",
}
"""Names of the values most asked for; any other is given as in JSON, with dots between."""
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
_PATTERN = re.compile(r"\s*([a-z_.]{1,60})\s*(>=|<=|>|<)\s*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One bound."""

    name: str
    sign: str
    bound: float

    def met(self, value: float | None) -> bool:
        """Whether a value passes; what could not be measured does not."""
        return value is not None and math.isfinite(value) and _OPERATORS[self.sign](value, self.bound)


def parse(text: str) -> Requirement:
    """`mouth>=0.7` as a requirement.

    Raises:
        ConfigError: it is not of that form.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ConfigError("require", f"{text!r} is not of the form mouth>=0.7")
    return Requirement(found[1], found[2], float(found[3]))


def look_up(report: Mapping[str, Any], name: str) -> float | None:
    """A value of a report by its short name or its path; None where it could not be measured.

    Raises:
        ConfigError: there is no such value.
    """
    value: Any = report
    for part in SHORT.get(name, name).split("."):
        value = value[part] if isinstance(value, Mapping) and part in value else _MISSING
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    near = difflib.get_close_matches(name, [*SHORT, *_numbers(report)], 1, 0)
    raise ConfigError("require", f"there is no {name}; did you mean {near[0]}?")


def check(report: Mapping[str, Any], required: Sequence[Requirement]) -> None:
    """Return quietly if a report meets all requirements.

    Raises:
        ReanimateError: it does not; the message says which.
        ConfigError: there is no such value.
    """
    found = [(wanted, look_up(report, wanted.name)) for wanted in required]
    missed = [
        f"{wanted.name} is {'unknown' if value is None else f'{value:g}'}, not {wanted.sign} {wanted.bound:g}"
        for wanted, value in found
        if not wanted.met(value)
    ]
    if missed:
        raise ReanimateError(f"{len(missed)} of {len(found)} requirements not met: {'; '.join(missed)}")


_MISSING = object()


def _numbers(report: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for name, value in report.items():
        found += _numbers(value, f"{before}{name}.") if isinstance(value, Mapping) else [f"{before}{name}"]
    return found
