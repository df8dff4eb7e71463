"""A stage is data: a name, a version, inputs by role, parameters, a function. A node is a stage put to work."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pipeline.key import document_key, file_digest, key_document
from reanimate.errors import MediaError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # a stage's name is also a folder's


class Reporter(Protocol):
    """How a stage talks to whoever runs it: the command line draws it, a test records it."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """A piece of work of `total` steps begins; `done` of them were there already."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done; `note` is a word on how it goes."""

    def finish(self) -> None:
        """The piece of work is over."""

    def say(self, message: str) -> None:
        """Something the user should know of the result; a cached result says it again."""


class SilentReporter:
    """A reporter that keeps everything to itself."""

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Nothing is drawn."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing is drawn."""

    def finish(self) -> None:
        """Nothing is drawn."""

    def say(self, message: str) -> None:
        """Nothing is said."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a stage's function is given."""

    params: Any
    """An instance of the stage's own params dataclass."""
    inputs: Mapping[str, Path]
    """{role: the folder of a finished result, or the file itself}."""
    folder: Path
    """Where the result goes. Of a stage that resumes, it may hold what an interrupted run left."""
    reporter: Reporter
    device: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of work, from files to files."""

    name: str
    version: int
    """Bumped by hand when the same input would give another output."""
    inputs: tuple[str, ...]
    """Roles."""
    params: type
    """A frozen dataclass; fields that change no numbers are marked `field(metadata={"key": False})`."""
    run: Callable[[Job], None]
    resumes: bool = False
    """True if `run` goes on from what an interrupted run left in its folder; else it finds the folder empty."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a stage: lower-case letters, digits, - and _")


@dataclass(frozen=True)
class FileInput:
    """A file from outside the cache, known by its contents."""

    path: Path
    known_digest: str | None = None
    """Given where the contents are known by other means; `path` may then be a folder."""

    @cached_property
    def digest(self) -> str:
        """The digest, computed once.

        Raises:
            MediaError: the file is missing or cannot be read.
        """
        if self.known_digest is not None:
            return self.known_digest
        _ = self._stamp  # taken before reading, so that a change meanwhile shows afterwards
        return file_digest(self.path)

    @cached_property
    def _stamp(self) -> tuple[int, ...] | None:
        return self._look()

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def check_unchanged(self) -> None:
        """Return quietly if the file is still the one whose digest was taken.

        Raises:
            MediaError: it was written to or replaced since.
        """
        if self.known_digest is None and self.digest and self._look() != self._stamp:
            raise MediaError(self.path, "changed while it was in use; run the same command again")


@dataclass(frozen=True, eq=False)
class Node:
    """A stage with its parameters and inputs: one result, whether it is there yet or not."""

    stage: Stage
    params: Any
    inputs: Mapping[str, Node | FileInput]
    label: str
    """What users call it, such as `source/track`; unique among the nodes of one run."""

    def __post_init__(self) -> None:
        if not isinstance(self.params, self.stage.params):
            raise TypeError(f"{self.label}: {self.stage.name} takes {self.stage.params.__name__}, not {self.params!r}")
        if set(self.inputs) != set(self.stage.inputs):
            raise ValueError(f"{self.label}: {self.stage.name} takes {self.stage.inputs}, not {tuple(self.inputs)}")

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the key is made of.

        Raises:
            MediaError: a file among the inputs, or among theirs, is missing or cannot be read.
        """
        made_of = {role: node.key if isinstance(node, Node) else node.digest for role, node in self.inputs.items()}
        return key_document(self.stage.name, self.stage.version, self.params, made_of)

    @cached_property
    def key(self) -> str:
        """64 hex digits; equal keys are equal results.

        Raises:
            MediaError: a file among the inputs, or among theirs, is missing or cannot be read.
        """
        return document_key(self.document)
