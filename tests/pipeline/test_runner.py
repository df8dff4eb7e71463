"""The runner: nothing twice, nothing lost, and always a reason."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artefacts import RecordLog, load_json, save_json
from pipeline.last import LAST
from pipeline.manifest import MANIFEST
from pipeline.runner import Step, execute, plan
from pipeline.stage import FileInput, Job, Node, Stage
from pipeline.store import Found, Missing, Store
from reanimate.errors import ConfigError, MediaError, ReanimateError, StoreError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ReadParams:
    pass


@dataclass(frozen=True)
class ScaleParams:
    gain: float = 1.0
    rate: Fraction = Fraction(25)
    workers: int = field(default=1, metadata={"key": False})


@dataclass(frozen=True)
class SquareParams:
    count: int = 20
    pause: float = field(default=0.0, metadata={"key": False})


ran: list[str] = []
"""Stage names, in the order they ran in this process."""


def read(job: Job) -> None:
    ran.append("read")
    save_json(job.folder / "number.json", int(job.inputs["video"].read_text()))
    job.reporter.say(f"read {job.inputs['video'].name}")


def scale(job: Job) -> None:
    ran.append("scale")
    save_json(job.folder / "number.json", load_json(job.inputs["number"] / "number.json") * job.params.gain)


def add(job: Job) -> None:
    ran.append("add")
    a, b = (load_json(job.inputs[role] / "number.json") for role in ("source", "target"))
    save_json(job.folder / "number.json", a + b)


def square(job: Job) -> None:
    """Resumes: one record per square, as the invert stage keeps one per frame."""
    ran.append("square")
    with RecordLog(job.folder / "log", 8) as log:
        job.reporter.start("square", job.params.count, len(log))
        for i in range(len(log), job.params.count):
            time.sleep(job.params.pause)
            log.append(struct.pack("<Q", i * i))
            job.reporter.advance()
        total = sum(struct.unpack("<Q", record)[0] for record in log.read_all())
    save_json(job.folder / "number.json", total)
    (job.folder / "log").unlink()


READ = Stage("read", 1, ("video",), ReadParams, read)
SCALE = Stage("scale", 1, ("number",), ScaleParams, scale)
ADD = Stage("add", 1, ("source", "target"), ReadParams, add)
SQUARE = Stage("square", 1, (), SquareParams, square, resumes=True)


@dataclass
class Recorder:
    """A reporter that keeps all it hears."""

    said: list[str] = field(default_factory=list)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    def start(self, label: str, total: int, done: int = 0) -> None:
        self.calls.append(("start", label, total, done))

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.calls.append(("advance", steps))

    def finish(self) -> None:
        self.calls.append(("finish",))

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    ran.clear()
    yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "source.txt").write_text("3")
    (tmp_path / "target.txt").write_text("4")
    (tmp_path / "other.txt").write_text("5")
    return Store(tmp_path / "cache")


def graph(store: Store, gain: float = 1.0, target: str = "target.txt", workers: int = 1, scaled: Stage = SCALE) -> Node:
    here = store.root.parent
    source = Node(READ, ReadParams(), {"video": FileInput(here / "source.txt")}, "source/read")
    louder = Node(scaled, ScaleParams(gain, workers=workers), {"number": source}, "source/scale")
    target_read = Node(READ, ReadParams(), {"video": FileInput(here / target)}, "target/read")
    return Node(ADD, ReadParams(), {"source": louder, "target": target_read}, "add")


def result(store: Store, goal: Node, **options: Any) -> Any:
    return load_json(execute([goal], store, **options)[goal.label] / "number.json")


def table(steps: list[Step]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {step.node.label: (step.status, step.reasons) for step in steps}


NEW = ("run", ("not made yet",))


def test_plan_is_in_order_and_runs_nothing(store: Store) -> None:
    assert list(table(plan([graph(store)], store)).items()) == [
        ("source/read", NEW),
        ("source/scale", NEW),
        ("target/read", NEW),
        ("add", NEW),
    ]
    assert ran == []
    assert not store.root.exists()


def test_everything_runs_once_and_then_never_again(store: Store) -> None:
    assert result(store, graph(store)) == 7
    assert ran == ["read", "scale", "read", "add"]
    assert result(store, graph(store, workers=8)) == 7
    assert len(ran) == 4
    assert table(plan([graph(store)], store)) == {"add": ("cached", ())}


def test_changed_setting_runs_only_what_depends_on_it(store: Store) -> None:
    execute([graph(store)], store)
    ran.clear()
    assert table(plan([graph(store, gain=1.2)], store)) == {
        "source/read": ("cached", ()),
        "source/scale": ("run", ("gain 1.0 → 1.2",)),
        "target/read": ("cached", ()),
        "add": ("run", ("source/scale changed",)),
    }
    assert result(store, graph(store, gain=1.2)) == pytest.approx(7.6)
    assert ran == ["scale", "add"]
    assert result(store, graph(store)) == 7, "and the former result is still there"
    assert ran == ["scale", "add"]


def test_second_target_shares_the_sources_work(store: Store) -> None:
    execute([graph(store)], store)
    ran.clear()
    assert table(plan([graph(store, target="other.txt")], store))["target/read"] == ("run", ("video file changed",))
    assert result(store, graph(store, target="other.txt")) == 8
    assert ran == ["read", "add"]


def test_same_file_twice_is_read_once(store: Store) -> None:
    goal = graph(store, target="source.txt")
    folders = execute([goal], store)
    assert ran == ["read", "scale", "add"]
    assert folders["source/read"] == folders["target/read"]
    assert set(folders) == {"source/read", "source/scale", "target/read", "add"}


def test_finished_goal_needs_nothing_of_what_it_was_made_from(store: Store) -> None:
    execute([graph(store)], store)
    shutil.rmtree(store.root / "read")
    shutil.rmtree(store.root / "scale")
    ran.clear()
    assert result(store, graph(store)) == 7
    assert ran == []
    assert table(plan([graph(store, target="other.txt")], store))["source/scale"] == ("run", ("not in the cache",))


def test_new_version_of_a_stage_is_a_reason(store: Store) -> None:
    execute([graph(store)], store)
    newer = Stage("scale", 2, ("number",), ScaleParams, scale)
    assert table(plan([graph(store, scaled=newer)], store))["source/scale"] == ("run", ("stage version 1 → 2",))


def test_changed_source_file_is_a_reason(store: Store) -> None:
    execute([graph(store)], store)
    (store.root.parent / "source.txt").write_text("30")
    found = table(plan([graph(store)], store))
    assert found["source/read"] == ("run", ("video file changed",))
    assert found["source/scale"] == ("run", ("source/read changed",))


def test_cached_result_says_again_what_its_stage_said(store: Store) -> None:
    first, second = Recorder(), Recorder()
    execute([graph(store)], store, first, until="read")
    execute([graph(store)], store, second, until="read")
    assert first.said == second.said == ["read source.txt", "read target.txt"]


def test_force_by_stage_carries_through_to_the_goal(store: Store) -> None:
    execute([graph(store)], store)
    ran.clear()
    assert table(plan([graph(store)], store, force=["scale"])) == {
        "source/read": ("cached", ()),
        "source/scale": ("run", ("forced",)),
        "target/read": ("cached", ()),
        "add": ("run", ("source/scale runs again",)),
    }
    execute([graph(store)], store, force=["scale"])
    assert ran == ["scale", "add"]


def test_force_by_label_leaves_the_other_clip_alone(store: Store) -> None:
    execute([graph(store)], store)
    ran.clear()
    execute([graph(store)], store, force=["target/read"])
    assert ran == ["read", "add"]


def test_until_stops_after_the_stage_of_both_clips(store: Store) -> None:
    assert set(execute([graph(store)], store, until="read")) == {"source/read", "target/read"}
    assert ran == ["read", "read"]


@pytest.mark.parametrize("options", [{"force": ["scael"]}, {"until": "scael"}])
def test_unknown_stage_is_an_error_that_names_the_nearest(store: Store, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="there is no stage 'scael'; the nearest is scale"):
        plan([graph(store)], store, **options)


def test_two_different_nodes_of_one_label_are_the_programmers_error(store: Store) -> None:
    a, b = (Node(SQUARE, SquareParams(count), {}, "square") for count in (1, 2))
    with pytest.raises(ValueError, match="two different nodes are called square"):
        plan([a, b], store)


def test_damaged_result_is_made_again_and_said_aloud(store: Store) -> None:
    goal = graph(store)
    path = execute([goal], store)["add"] / "number.json"
    os.truncate(path, 0)
    reason = "'number.json' has 0 bytes instead of 3"
    assert table(plan([goal], store))["add"] == ("damaged", (f"damaged: {reason}",))
    heard = Recorder()
    assert result(store, goal, reporter=heard) == 7
    assert f"add: the cached result is damaged ({reason}); it is made again" in heard.said
    assert isinstance(store.lookup(goal), Found)


def test_every_kind_of_last_run_is_ignored_unless_it_helps(store: Store) -> None:
    execute([graph(store)], store)
    whole = json.loads((store.root / LAST).read_text())
    deep = "[" * 900 + "]" * 900
    texts = ["", "{", "[]", "null", "[" * 100_000, " " * (5 << 20), json.dumps(dict.fromkeys(whole, "x")), deep]
    values: list[Any] = [None, [], {"gain": deep}, {"\x1b[2J": "\x1b[2J" * 1000, "gain": [[1]]}, 1e999]
    for value in values:
        for name in ("params", "inputs", "version", "stage", "schema"):
            texts.append(json.dumps({label: {**document, name: value} for label, document in whole.items()}))
    texts.append(json.dumps({"source/scale": {**whole["source/scale"], "version": "DEEP"}}).replace('"DEEP"', deep))
    for written in texts:
        (store.root / LAST).write_text(written)
        for _, reasons in table(plan([graph(store, gain=2)], store)).values():
            assert all(reason.isprintable() and len(reason) < 200 for reason in reasons)
    (store.root / LAST).write_text(texts[-1])
    assert result(store, graph(store, gain=3)) == 13
    (store.root / LAST).unlink()
    (store.root / LAST).mkdir()
    assert result(store, graph(store, gain=4)) == 16


def fails(job: Job) -> None:
    (job.folder / "half").write_text("x")
    job.reporter.start("fails", 10)
    raise job.params.error


@dataclass(frozen=True)
class FailParams:
    error: BaseException = field(metadata={"key": False})


def failing(error: BaseException, resumes: bool = False) -> Node:
    return Node(Stage("fails", 1, (), FailParams, fails, resumes), FailParams(error), {}, "fails")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x"), StoreError("x", "y")])
@pytest.mark.parametrize("resumes", [True, False])
def test_interrupt_keeps_what_is_finished_and_what_can_be_resumed(
    store: Store, error: BaseException, resumes: bool
) -> None:
    heard = Recorder()
    bad = failing(error, resumes)
    with pytest.raises(type(error)):
        execute([graph(store), bad], store, heard)
    assert store.lookup(bad) == Missing(partial=resumes)
    assert heard.calls == [("start", "fails", 10, 0), ("finish",)], "no bar is left behind"
    assert set(json.loads((store.root / LAST).read_text())) == {"source/read", "source/scale", "target/read", "add"}
    ran.clear()
    assert result(store, graph(store)) == 7
    assert ran == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), "no space left on the disk; free some or pass --cache-dir"),
        (OSError(errno.EDQUOT, "x"), "no space left on the disk; free some or pass --cache-dir"),
        (OSError(errno.EROFS, "Read-only file system"), r"cannot be written \(read-only file system\); change that or"),
        (OSError(errno.EACCES, "Permission denied"), r"cannot be written \(permission denied\); change that or"),
    ],
)
def test_trouble_with_the_disk_is_one_line(store: Store, error: OSError, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        execute([failing(error)], store)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "x", "/elsewhere"), OSError(errno.EIO, "x"), OSError("x")])
def test_trouble_elsewhere_is_not_blamed_on_the_cache(store: Store, error: OSError) -> None:
    with pytest.raises(OSError, match="x") as caught:
        execute([failing(error)], store)
    assert caught.value is error


def test_device_that_is_always_full_says_so(store: Store) -> None:
    def overflow(job: Job) -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(b"x" * 100_000)

    with pytest.raises(StoreError, match="no space left on the disk; free some or pass --cache-dir"):
        execute([Node(Stage("full", 1, (), ReadParams, overflow), ReadParams(), {}, "full")], store)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "tiny"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield path
    subprocess.run(["umount", path], check=True)


def test_full_disk_costs_no_finished_stage(store: Store, tiny_disk: Path) -> None:
    def fill_up(job: Job) -> None:
        np.save(job.folder / "big.npy", np.ones(1 << 20))

    def fill_up_plainly(job: Job) -> None:
        (job.folder / "big").write_bytes(b"x" * (1 << 20))

    small = Store(tiny_disk)
    goal = graph(store)
    assert result(small, goal) == 7
    for run in (fill_up, fill_up_plainly):
        big = Node(Stage("big", 1, (), ReadParams, run), ReadParams(), {}, "big")
        with pytest.raises(StoreError, match="no space left on the disk; free some or pass --cache-dir"):
            execute([big], small)
        assert small.lookup(big) == Missing(partial=False), "what filled the disk is gone"
    ran.clear()
    assert result(small, goal) == 7
    assert ran == []
    many = Node(SQUARE, SquareParams(count=100_000), {}, "square")
    with pytest.raises(StoreError, match="no space left on the disk"):
        execute([many], small)
    assert small.lookup(many) == Missing(partial=True), "a stage that resumes keeps what it has"


def test_file_too_large_for_its_limit_is_not_a_traceback_of_ours(store: Store) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
    try:
        with pytest.raises(ReanimateError):
            execute([Node(SQUARE, SquareParams(count=10_000), {}, "square")], store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_cached_results_serve_on_a_disk_that_cannot_be_written(store: Store, tiny_disk: Path) -> None:
    goal = graph(store)
    execute([goal], Store(tiny_disk))
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    assert result(Store(tiny_disk), goal) == 7
    with pytest.raises(StoreError, match="cannot be written"):
        execute([graph(store, gain=2)], Store(tiny_disk))


def test_source_that_changes_under_a_stage_leaves_no_result(store: Store) -> None:
    path = store.root.parent / "source.txt"

    def meddle(job: Job) -> None:
        read(job)
        path.write_text("changed")

    goal = Node(Stage("read", 1, ("video",), ReadParams, meddle), ReadParams(), {"video": FileInput(path)}, "read")
    with pytest.raises(MediaError, match="changed while it was in use"):
        execute([goal], store)
    assert store.lookup(goal) == Missing(partial=False)


def test_missing_source_is_one_line_before_anything_runs(store: Store) -> None:
    with pytest.raises(MediaError, match="no such file"):
        execute([graph(store, target="none.txt")], store)
    assert ran == []


def test_interrupted_stage_goes_on_and_says_so(store: Store) -> None:
    goal = Node(SQUARE, SquareParams(), {}, "square")
    with store.lock(goal):
        with RecordLog(store.open_partial(goal, keep=False) / "log", 8) as log:
            for i in range(12):
                log.append(struct.pack("<Q", i * i))
        with (log.path).open("ab") as file:
            file.write(b"torn")
    reasons = ("not made yet", "goes on from where it was interrupted")
    assert table(plan([goal], store)) == {"square": ("partial", reasons)}
    heard = Recorder()
    assert result(store, goal, reporter=heard) == sum(i * i for i in range(20))
    assert heard.calls == [("start", "square", 20, 12), *[("advance", 1)] * 8, ("finish",)]


def test_force_begins_anew(store: Store) -> None:
    goal = Node(SQUARE, SquareParams(), {}, "square")
    with store.lock(goal), RecordLog(store.open_partial(goal, keep=False) / "log", 8) as log:
        log.append(struct.pack("<Q", 12345))
    heard = Recorder()
    execute([goal], store, heard, force=["square"])
    assert heard.calls[0] == ("start", "square", 20, 0)


def in_another_process(cache: Path, count: int, pause: float) -> subprocess.Popen[bytes]:
    text = f"import test_runner as t; t.main({str(cache)!r}, {count}, {pause})"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", text], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
    )


def main(cache: str, count: int, pause: float) -> None:
    """What the other process does: print every line it hears."""

    class Printer(Recorder):
        def start(self, label: str, total: int, done: int = 0) -> None:
            sys.stdout.write(f"start {done}\n")
            sys.stdout.flush()

        def advance(self, steps: int = 1, note: str = "") -> None:
            sys.stdout.write("advance\n")
            sys.stdout.flush()

    goal = Node(SQUARE, SquareParams(count, pause), {}, "square")
    try:
        sys.stdout.write(f"{result(Store(Path(cache)), goal, reporter=Printer())}\n")
    except StoreError as error:
        sys.stdout.write(f"refused: {error}\n")


def test_killed_run_goes_on_from_its_last_record_with_the_same_bytes(store: Store) -> None:
    goal = Node(SQUARE, SquareParams(60), {}, "square")
    with in_another_process(store.root, 60, 0.02) as killed:
        assert killed.stdout is not None
        for _ in range(10):
            killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
    assert store.lookup(goal) == Missing(partial=True)
    assert (store.root / "square" / f"{goal.key}.lock").exists(), "the dead owner's lock is still lying there"
    heard = Recorder()
    folder = execute([goal], store, heard)["square"]
    (_, _, _, done) = heard.calls[0]
    assert isinstance(done, int)
    assert 9 <= done < 60
    unbroken = execute([goal], Store(store.root.parent / "unbroken"))["square"]
    assert (folder / "number.json").read_bytes() == (unbroken / "number.json").read_bytes()
    assert sorted(path.name for path in folder.parent.iterdir()) == [goal.key]


def test_two_processes_do_not_work_on_one_result(store: Store) -> None:
    with in_another_process(store.root, 60, 0.02) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with in_another_process(store.root, 60, 0.02) as second:
            assert second.stdout is not None
            said = second.stdout.read().decode()
        assert said.startswith("refused: cache ")
        assert f"another reanimate (pid {first.pid}) is working on this; wait for it or pass --cache-dir" in said
        assert first.stdout.read().decode().split()[-1] == str(sum(i * i for i in range(60)))
    goal = Node(SQUARE, SquareParams(60), {}, "square")
    assert result(store, goal) == sum(i * i for i in range(60))
    assert ran == []


def test_result_that_another_process_finished_meanwhile_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = Node(SQUARE, SquareParams(), {}, "square")
    steps = plan([goal], store)
    execute([goal], store)
    ran.clear()
    monkeypatch.setattr("pipeline.runner.plan", lambda *_: steps)
    assert result(store, goal) == sum(i * i for i in range(20))
    assert ran == []


def test_every_input_of_a_used_goal_counts_as_used(store: Store) -> None:
    folders = execute([graph(store)], store)
    for folder in folders.values():
        os.utime(folder / MANIFEST, (0, 0))
    execute([graph(store)], store)
    assert store.clean(unused_days=30) == []
