"""The cache: a result is whole or not there; what is read is not believed; one writer per result."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.lock import BusyError
from pipeline.manifest import MANIFEST, walk
from pipeline.stage import FileInput, Node, Stage
from pipeline.store import Damaged, Found, Missing, Store
from reanimate.errors import MediaError, StoreError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Params:
    value: int = 0


STAGE = Stage("toy", 1, (), Params, lambda job: None)


def node(value: int = 0) -> Node:
    return Node(STAGE, Params(value), {}, "toy")


def fill(store: Store, made: Node, text: str = "some text") -> Path:
    with store.lock(made):
        folder = store.open_partial(made, keep=False)
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_text(text)
        (folder / "b.txt").write_text(text * 2)
        return store.commit(made, ["a note"], 1.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def test_looking_up_makes_nothing(store: Store) -> None:
    assert store.lookup(node()) == Missing(partial=False)
    assert store.list_artefacts() == []
    assert not store.root.exists()


def test_committed_result_is_found_with_its_notes(store: Store) -> None:
    folder = fill(store, node())
    found = store.lookup(node())
    assert isinstance(found, Found)
    assert found.path == folder == store.root / "toy" / node().key
    assert (found.manifest.notes, found.manifest.seconds) == (("a note",), 1.5)
    assert {name: size for name, (size, _) in found.manifest.files.items()} == {"inner/a.txt": 9, "b.txt": 18}
    assert sorted(path.name for path in folder.parent.iterdir()) == [node().key], "no lock, no partial is left"


def test_manifest_appears_only_when_everything_is_there(store: Store) -> None:
    with store.lock(node()):
        folder = store.open_partial(node(), keep=False)
        (folder / "a.txt").write_text("x")
        assert store.lookup(node()) == Missing(partial=True)
        store.commit(node())
    assert not folder.exists()
    assert (store.folder(node()) / MANIFEST).exists()


def test_manifest_is_written_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.lock(node()):
        folder = store.open_partial(node(), keep=False)
        (folder / "a.txt").write_text("x")
        monkeypatch.setattr("pathlib.Path.rename", _no_rename)
        with pytest.raises(StoreError):
            store.commit(node())
        monkeypatch.undo()
        assert (folder / MANIFEST).exists()
        assert store.lookup(node()) == Missing(partial=True), "without the rename it is not complete"
        kept = store.open_partial(node(), keep=True)
        assert sorted(path.name for path in kept.iterdir()) == ["a.txt"], "a manifest of before is not gone on with"


def _no_rename(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_partial_is_kept_or_emptied_as_asked(store: Store) -> None:
    with store.lock(node()):
        (store.open_partial(node(), keep=False) / "log").write_text("x")
        (store.open_partial(node(), keep=True) / "half.tmp").write_text("x")
        assert [path.name for path in store.open_partial(node(), keep=True).iterdir()] == ["log"]
        assert list(store.open_partial(node(), keep=False).iterdir()) == []


def test_partial_with_a_link_is_not_gone_on_with(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    with store.lock(node()):
        folder = store.open_partial(node(), keep=False)
        (folder / "log").symlink_to(outside)
        assert list(store.open_partial(node(), keep=True).iterdir()) == []
        folder.rmdir()
        folder.symlink_to(tmp_path)
        opened = store.open_partial(node(), keep=True)
        assert not opened.is_symlink()
        assert list(opened.iterdir()) == []
    assert outside.read_text() == "precious"


def test_commit_replaces_an_older_result(store: Store) -> None:
    fill(store, node(), "old")
    assert (fill(store, node(), "new") / "b.txt").read_text() == "newnew"


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return apply


def text(value: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / MANIFEST).write_text(value)

    return apply


def replace_by_link(folder: Path) -> None:
    (folder / "b.txt").unlink()
    (folder / "b.txt").symlink_to("/etc/passwd")


def manifest_by_link(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parents[2] / "elsewhere.json")
    (folder / MANIFEST).symlink_to(folder.parents[2] / "elsewhere.json")


def manifest_by_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: os.truncate(f / "b.txt", 3), "'b.txt' has 3 bytes instead of 18"),
    "missing": (lambda f: (f / "b.txt").unlink(), "'b.txt' is missing"),
    "extra": (lambda f: (f / "c.txt").write_text(""), "'c.txt' does not belong to it"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "it has no manifest"),
    "link": (replace_by_link, "neither a file nor a folder"),
    "manifest link": (manifest_by_link, "neither a file nor a folder"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), "neither a file nor a folder"),
    "manifest folder": (manifest_by_folder, "no manifest"),
    "empty": (text(""), "cannot be read"),
    "not json": (text("{"), "cannot be read"),
    "binary": (text("\x00\x01"), "cannot be read"),
    "deep": (text("[" * 200_000), "cannot be read"),
    "deep but whole": (text("[" * 900 + "]" * 900), ""),
    "long number": (text("1" * 100_000), "cannot be read"),
    "huge": (text(" " * (5 << 20)), "cannot be read"),
    "list": (text("[]"), "another version"),
    "null": (text("null"), "another version"),
    "old schema": (edit(lambda m: m.update(schema=0)), "another version"),
    "schema list": (edit(lambda m: m.update(schema=[])), "another version"),
    "other document": (edit(lambda m: m["document"].update(version=2)), "another key"),
    "document text": (edit(lambda m: m.update(document="x")), "another key"),
    "document field": (edit(lambda m: m["document"].update(more=1)), "another key"),
    "document infinite": (edit(lambda m: m["document"].update(version=1e999)), ""),
    "document surrogate": (edit(lambda m: m["document"].update(stage="\ud800")), "another key"),
    "document deep": (edit(lambda m: m["document"].update(params=deep(400))), "another key"),
    "no files": (edit(lambda m: m.pop("files")), "not well formed"),
    "files list": (edit(lambda m: m.update(files=[])), "not well formed"),
    "file null": (edit(lambda m: m["files"].update({"b.txt": None})), "not well formed"),
    "size text": (edit(lambda m: m["files"]["b.txt"].update(bytes="18")), "not well formed"),
    "size bool": (edit(lambda m: m["files"]["b.txt"].update(bytes=True)), "not well formed"),
    "size negative": (edit(lambda m: m["files"]["b.txt"].update(bytes=-1)), "not well formed"),
    "size vast": (edit(lambda m: m["files"]["b.txt"].update(bytes=10**4000)), "not well formed"),
    "digest": (edit(lambda m: m["files"]["b.txt"].update(digest="sha256:../../x")), "not well formed"),
    "notes text": (edit(lambda m: m.update(notes="x")), "not well formed"),
    "notes numbers": (edit(lambda m: m.update(notes=[1])), "not well formed"),
    "notes many": (edit(lambda m: m.update(notes=["x"] * 1000)), "not well formed"),
    "seconds": (edit(lambda m: m.update(seconds="x")), "not well formed"),
    "outside": (edit(lambda m: m["files"].update({"../../../precious": m["files"]["b.txt"]})), "is missing"),
    "absolute": (edit(lambda m: m["files"].update({"/etc/passwd": m["files"]["b.txt"]})), "is missing"),
    "nul": (edit(lambda m: m["files"].update({"a\0b": m["files"]["b.txt"]})), "is missing"),
    "escape": (edit(lambda m: m["files"].update({"\x1b[2J\n": m["files"]["b.txt"]})), "is missing"),
    "long name": (edit(lambda m: m["files"].update({"x" * 100_000: m["files"]["b.txt"]})), "is missing"),
}


def deep(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line_and_can_be_removed(store: Store, tmp_path: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    precious = tmp_path / "precious"
    precious.write_text("x" * 18)
    damage(fill(store, node()))
    found = store.lookup(node())
    assert isinstance(found, Damaged)
    assert said in found.reason
    assert found.reason.isprintable()
    assert len(found.reason) < 250
    (listed,) = store.list_artefacts()
    assert (listed.state, listed.reason) == ("damaged", found.reason)
    (verified,) = store.verify()
    assert verified.state == "damaged"
    assert [artefact.key for artefact in store.clean(damaged=True)] == [node().key]
    assert store.lookup(node()) == Missing(partial=False)
    assert precious.read_text() == "x" * 18
    assert Path("/etc/passwd").stat().st_size > 0


def test_result_that_is_a_link_is_damage_and_only_the_link_goes(store: Store, tmp_path: Path) -> None:
    folder = fill(store, node())
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    assert store.lookup(node()) == Damaged("not a folder")
    fill(store, node())
    assert not folder.is_symlink()
    assert (tmp_path / "moved" / "b.txt").exists()
    store.folder(node(1)).symlink_to(tmp_path / "nowhere")
    assert store.lookup(node(1)) == Damaged("not a folder"), "a link to nothing is not nothing"


def test_stage_folder_that_is_a_link_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    store.root.mkdir()
    (store.root / "toy").symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match="is a link"):
        store.lookup(node())
    assert store.list_artefacts() == []


def test_notes_reach_the_terminal_without_control_characters(store: Store) -> None:
    edit(lambda m: m.update(notes=["\x1b[2Jhello\n" + "x" * 10_000]))(fill(store, node()))
    found = store.lookup(node())
    assert isinstance(found, Found)
    assert found.manifest.notes[0].startswith(" [2Jhello x")
    assert len(found.manifest.notes[0]) == 500


def test_verify_finds_what_sizes_do_not_tell_and_has_it_made_again(store: Store) -> None:
    (fill(store, node()) / "b.txt").write_text("SOME TEXT" * 2)
    fill(store, node(1))
    assert isinstance(store.lookup(node()), Found)
    states = {artefact.key: (artefact.state, artefact.reason) for artefact in store.verify()}
    assert states == {
        node().key: ("damaged", "'b.txt' holds other bytes than were written"),
        node(1).key: ("complete", ""),
    }
    assert isinstance(store.lookup(node()), Damaged)


def test_list_tells_states_and_sizes(store: Store) -> None:
    fill(store, node())
    (fill(store, node(1)) / "b.txt").unlink()
    with store.lock(node(2)):
        (store.open_partial(node(2), keep=False) / "log").write_text("12345")
    (store.root / "toy" / "README").write_text("not ours")
    found = {artefact.key: artefact for artefact in store.list_artefacts()}
    assert {key: artefact.state for key, artefact in found.items()} == {
        node().key: "complete",
        node(1).key: "damaged",
        node(2).key: "partial",
    }
    assert found[node(2).key].bytes == 5
    assert found[node().key].bytes > 27
    assert abs(found[node().key].mtime - time.time()) < 60


def test_clean_removes_what_it_is_told_and_nothing_else(store: Store) -> None:
    old, fresh = node(), node(1)
    fill(store, fresh)
    os.utime(fill(store, old) / MANIFEST, (0, 0))
    with store.lock(node(2)):
        store.open_partial(node(2), keep=False)
    (store.root / "toy" / "README").write_text("not ours")
    assert store.clean() == []
    assert [artefact.state for artefact in store.clean(partial=True)] == ["partial"]
    assert [artefact.key for artefact in store.clean(unused_days=30)] == [old.key]
    assert [artefact.key for artefact in store.clean(everything=True)] == [fresh.key]
    assert [path.name for path in (store.root / "toy").iterdir()] == ["README"]


def test_use_keeps_a_result_from_being_cleaned_away(store: Store) -> None:
    os.utime(fill(store, node()) / MANIFEST, (0, 0))
    store.touch(node())
    store.touch(node(1))
    assert store.clean(unused_days=30) == []


def test_clean_leaves_alone_what_is_being_worked_on(store: Store) -> None:
    with store.lock(node()):
        store.open_partial(node(), keep=False)
        assert store.clean(everything=True) == []
        assert store.lookup(node()) == Missing(partial=True)
    assert len(store.clean(everything=True)) == 1


def test_second_writer_is_told_who_the_first_is(store: Store) -> None:
    told = rf"another reanimate \(pid {os.getpid()}\) is working on this; wait for it or"
    with store.lock(node()):
        with pytest.raises(BusyError, match=told), store.lock(node()):
            pass
        with store.lock(node(1)):
            pass
    with store.lock(node()):
        pass


HOLD = """
import sys, time
from pathlib import Path
from pipeline.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_of_a_killed_owner_is_taken_over(tmp_path: Path) -> None:
    from pipeline.lock import locked

    path = tmp_path / "a.lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLD, path], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner, owner.stdout:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=f"pid {owner.pid}"), locked(path):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert path.read_text().split() == [str(owner.pid), socket.gethostname()]
    with locked(path):
        assert path.read_text().split()[0] == str(os.getpid())
    assert not path.exists()


def test_lock_file_of_anything_is_no_obstacle(tmp_path: Path) -> None:
    from pipeline.lock import locked

    path = tmp_path / "a.lock"
    path.write_bytes(b"\xff" * 1000)
    with locked(path), pytest.raises(BusyError), locked(path):
        pass
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError), locked(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_no_two_contenders_ever_hold_one_lock(tmp_path: Path) -> None:
    from pipeline.lock import locked

    path, inside, most, wins = tmp_path / "a.lock", [0], [0], [0]
    guard = threading.Lock()

    def contend() -> None:
        for _ in range(300):
            try:
                with locked(path):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                        wins[0] += 1
                    time.sleep(0)
                    with guard:
                        inside[0] -= 1
            except BusyError:
                time.sleep(0)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert wins[0] > 8


def test_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cache .*file"), Store(tmp_path / "file").lock(node()):
        pass


def test_full_disk_while_committing_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.lock(node()):
        (store.open_partial(node(), keep=False) / "a").write_text("x")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match="no space left on the disk; free some or pass --cache-dir"):
            store.commit(node())
    assert store.lookup(node()) == Missing(partial=True)


def test_walk_sees_names_of_any_bytes(tmp_path: Path, store: Store) -> None:
    with store.lock(node()):
        folder = store.open_partial(node(), keep=False)
        (folder / "\udcff\n.txt").write_text("x")
        store.commit(node())
    assert isinstance(store.lookup(node()), Found)
    assert len(walk(store.folder(node()))) == 2


def test_file_that_changes_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_text("a")
    made = FileInput(path)
    made.check_unchanged()
    path.write_text("bb")
    with pytest.raises(MediaError, match="changed while it was in use"):
        made.check_unchanged()
    known = FileInput(tmp_path, "sha256:model")
    known.check_unchanged()
    assert known.digest == "sha256:model"


def test_node_takes_what_its_stage_takes() -> None:
    with pytest.raises(TypeError, match="toy takes Params"):
        Node(STAGE, None, {}, "toy")
    with pytest.raises(ValueError, match="takes"):
        Node(STAGE, Params(), {"video": node()}, "toy")
    with pytest.raises(ValueError, match="no name for a stage"):
        Stage("../x", 1, (), Params, lambda job: None)
