"""What has to run, why, and running it: back from the goals to what is there, then forward again."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config import nearest, show
from pipeline.disk import DENIED, FULL_DISK, disk_error
from pipeline.last import read_last, why, write_last
from pipeline.manifest import Damaged, Found
from pipeline.stage import FileInput, Job, Node, Reporter, SilentReporter
from pipeline.store import Store
from reanimate.errors import ConfigError, MediaError, StoreError

_LITTLE = 1 << 20  # bytes free on a disk that is as good as full


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan."""

    node: Node
    status: Literal["cached", "run", "damaged", "partial"]
    """All but `cached` are to run: from the start, in place of a damaged result, on from where it was interrupted."""
    reasons: tuple[str, ...] = ()
    """Why it is to run, such as "gain 1.0 → 1.2"."""
    forced: bool = False
    """True if it is to run although its result may be there."""


def plan(goals: Sequence[Node], store: Store, force: Collection[str] = (), until: str | None = None) -> list[Step]:
    """What stands between the cache and the goals, inputs first, each result once; runs nothing.

    A result that is there needs nothing of what it was made from, so a finished goal is a plan of one cached step.
    `force` names stages (`invert`) or labels (`source/invert`) that run anyway, and all that depends on them with
    them; `until` makes the stages of one name the goals.

    Raises:
        ConfigError: `force` or `until` names no stage of these goals.
        MediaError: a file among the inputs is missing or cannot be read.
        StoreError: the cache cannot be read.
    """
    goals = _until(goals, until)
    nodes = _closure(goals)
    for name in force:
        _check_name("--force", name, nodes)
    forced = {node.key for node in nodes if {node.stage.name, node.label} & set(force)}
    planner = _Planner(store, forced, read_last(store.root))
    for goal in goals:
        planner.visit(goal)
    return list(planner.steps.values())


def execute(
    goals: Sequence[Node],
    store: Store,
    reporter: Reporter | None = None,
    device: str = "cpu",
    force: Collection[str] = (),
    until: str | None = None,
) -> dict[str, Path]:
    """Bring about what `plan` lists; {label: folder} of every step in it, the goals among them.

    Whatever is finished stays, whatever happens next: an error or an interrupt costs the stage it comes in, and not
    even that where the stage resumes. A stage that is forced begins anew.

    Raises:
        ConfigError, MediaError: as `plan`, or a file changed while it was in use.
        StoreError: the cache cannot be read or written, or another process is at work on the same result.
    """
    steps = plan(goals, store, force, until)
    nodes = _closure(_until(goals, until))
    reporter = reporter or SilentReporter()
    done: dict[str, Path] = {}
    try:
        for step in steps:
            done[step.node.key] = _run(step, store, reporter, device, done)
    finally:
        finished = len(done) == len(steps)
        write_last(store.root, [node for node in nodes if finished or node.key in done])
    for node in nodes:  # also what a cached goal did not ask for: it will be wanted when a setting changes
        store.touch(node)
    return {node.label: done[node.key] for node in nodes if node.key in done}


def _inputs(node: Node) -> list[Node]:
    return [made for made in node.inputs.values() if isinstance(made, Node)]


def _closure(goals: Sequence[Node]) -> list[Node]:
    """The goals and all they are made from, inputs first, each label once."""
    found: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for made in _inputs(node):
            visit(made)
        if found.setdefault(node.label, node).key != node.key:
            raise ValueError(f"two different nodes are called {node.label}")

    for goal in goals:
        visit(goal)
    return list(found.values())


def _until(goals: Sequence[Node], until: str | None) -> Sequence[Node]:
    if until is None:
        return goals
    nodes = _closure(goals)
    _check_name("--until", until, nodes)
    return [node for node in nodes if until in (node.stage.name, node.label)]


def _check_name(option: str, name: str, nodes: Sequence[Node]) -> None:
    known = dict.fromkeys(name for node in nodes for name in (node.stage.name, node.label))
    if name not in known:
        raise ConfigError(option, f"there is no stage {show(name)}; the nearest is {nearest(name, known)}")


class _Planner:
    """Walks from the goals towards the files, and stops at every result that is there."""

    def __init__(self, store: Store, forced: set[str], last: Mapping[str, object]) -> None:
        self.store, self.forced, self.last = store, forced, last
        self.steps: dict[str, Step] = {}

    def visit(self, node: Node) -> None:
        if node.key in self.steps:
            return
        forced = self._forced(node)
        found = self.store.lookup(node)
        if isinstance(found, Found) and not forced:
            self.steps[node.key] = Step(node, "cached")
            return
        for made in _inputs(node):
            self.visit(made)
        if forced:
            self.steps[node.key] = Step(node, "run", forced, forced=True)
        elif isinstance(found, Damaged):
            self.steps[node.key] = Step(node, "damaged", (f"damaged: {found.reason}",))
        elif not isinstance(found, Found):
            partial = found.partial and node.stage.resumes
            reasons = why(node, self.last.get(node.label))
            goes_on = ("goes on from where it was interrupted",) if partial else ()
            self.steps[node.key] = Step(node, "partial" if partial else "run", reasons + goes_on)

    def _forced(self, node: Node) -> tuple[str, ...]:
        if node.key in self.forced:
            return ("forced",)
        # the keys stay, but what is in the results may not: it has to be carried through to the goal
        return tuple(f"{made.label} runs again" for made in _inputs(node) if self._forced(made))


def _run(step: Step, store: Store, reporter: Reporter, device: str, done: Mapping[str, Path]) -> Path:
    """The folder of one step's result, made if need be."""
    node = step.node
    if step.status == "cached":
        found = store.lookup(node)
        if isinstance(found, Found):
            return _reuse(found, reporter)
        raise StoreError(store.folder(node), "went away while this ran; run the same command again")
    with store.lock(node):
        found = store.lookup(node)
        if isinstance(found, Found) and not step.forced:  # another process was faster
            return _reuse(found, reporter)
        if isinstance(found, Damaged):
            reporter.say(f"{node.label}: the cached result is damaged ({found.reason}); it is made again")
            store.discard(node)
        folder = store.open_partial(node, keep=node.stage.resumes and not step.forced)
        recorder = _Recorder(reporter, step.node)
        started = time.monotonic()
        try:
            with _disk_trouble(folder), recorder:
                node.stage.run(Job(node.params, _paths(node, done), folder, recorder, device))
        except BaseException:
            if not node.stage.resumes:  # no use to anyone, and it may be what filled the disk
                with contextlib.suppress(StoreError):
                    store.discard(node, partial=True)
            raise
        _check_files(node, store)
        return store.commit(node, recorder.notes, time.monotonic() - started)


def _paths(node: Node, done: Mapping[str, Path]) -> dict[str, Path]:
    return {role: made.path if isinstance(made, FileInput) else done[made.key] for role, made in node.inputs.items()}


def _check_files(node: Node, store: Store) -> None:
    """What was made from a file that changed meanwhile belongs to neither of its two keys."""
    try:
        for made in node.inputs.values():
            if isinstance(made, FileInput):
                made.check_unchanged()
    except MediaError:
        store.discard(node, partial=True)
        raise


def _reuse(found: Found, reporter: Reporter) -> Path:
    for note in found.manifest.notes:
        reporter.say(note)
    return found.path


class _Recorder:
    """Passes on what a stage reports under its node's label, and keeps what it says for the manifest."""

    def __init__(self, reporter: Reporter, node: Node) -> None:
        self._reporter, self._node = reporter, node
        self._started = False
        self.notes: list[str] = []

    def start(self, label: str, total: int, done: int = 0) -> None:
        self.finish()
        self._started = True
        self._reporter.start(self._node.label if label == self._node.stage.name else label, total, done)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._reporter.advance(steps, note)

    def finish(self) -> None:
        if self._started:
            self._started = False
            self._reporter.finish()

    def say(self, message: str) -> None:
        self.notes.append(message)
        self._reporter.say(message)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.finish()  # a stage that was interrupted does not leave its bar behind


@contextlib.contextmanager
def _disk_trouble(folder: Path) -> Iterator[None]:
    """Inside, an OSError that comes from the cache's disk leaves as a StoreError."""
    try:
        yield
    except OSError as error:
        if _is_ours(error, folder):
            raise disk_error(folder, error) from error
        raise


def _is_ours(error: OSError, folder: Path) -> bool:
    if error.filename is not None:
        return isinstance(error.filename, str | Path) and Path(error.filename).is_relative_to(folder)
    if error.errno is None:  # numpy says "requested and written" and no more
        with contextlib.suppress(OSError):
            if shutil.disk_usage(folder).free < _LITTLE:
                error.errno = errno.ENOSPC
    return error.errno in (*FULL_DISK, *DENIED)
