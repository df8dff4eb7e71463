"""What ran last under each label, kept to say why something runs again; without it, everything is new."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import show
from pipeline.disk import MAX_JSON, load_json, write_atomic
from pipeline.key import FIELDS
from pipeline.stage import Node
from reanimate.errors import StoreError

LAST = "last.json"  # {label: key document}
_UNSET = object()


def read_last(root: Path) -> dict[str, object]:
    """{label: key document} as the last run left it in the cache at `root`; empty if there is none to be read."""
    try:
        last = load_json(root / LAST)
    except StoreError:
        return {}
    return last if isinstance(last, dict) else {}


def write_last(root: Path, nodes: Sequence[Node]) -> None:
    """Keep the key documents of these nodes; a disk that will not have them is no reason to fail."""
    with contextlib.suppress(OSError, ValueError, RecursionError):  # the latter two of what was there before
        documents = read_last(root) | {node.label: node.document for node in nodes}
        data = json.dumps(documents, indent=1, sort_keys=True, allow_nan=False).encode()
        if nodes and len(data) <= MAX_JSON:
            write_atomic(root / LAST, data)


def why(node: Node, last: object) -> tuple[str, ...]:
    """What changed since `last`, the key document of the last node of this label; nothing of it is believed."""
    if not isinstance(last, dict) or set(last) != set(FIELDS):
        return ("not made yet",)
    now = node.document
    reasons = [
        f"{what} {_brief(last[field])} → {_brief(now[field])}"
        for field, what in (("schema", "cache format"), ("stage", "stage"), ("version", "stage version"))
        if last[field] != now[field]
    ]
    reasons += [f"{name} {old} → {new}" for name, old, new in _changes(last["params"], now["params"])]
    for role, _, _ in _changes(last["inputs"], now["inputs"]):
        made = node.inputs.get(role)
        reasons.append(f"{made.label if isinstance(made, Node) else f'{role} file'} changed")
    return tuple(reasons) or ("not in the cache",)


def _changes(old: object, new: Mapping[str, object]) -> list[tuple[str, str, str]]:
    before = old if isinstance(old, dict) else {}
    names = [*new, *(name for name in before if name not in new)]
    return [
        (name if name in new else _brief(name), _brief(before.get(name, _UNSET)), _brief(new.get(name, _UNSET)))
        for name in names
        if before.get(name, _UNSET) != new.get(name, _UNSET)
    ]


def _brief(value: object) -> str:
    if value is _UNSET:
        return "unset"
    if value is None:
        return "none"
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= 60 else show(value)
