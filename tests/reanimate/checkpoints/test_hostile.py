"""Files of every evil kind: none runs anything or takes much, and each is one line.

They are opened one after the other in a process of their own, in which time and memory are measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import official_pickle, stylegan2, write_forms
from conftest import ROOT
from hostile import Case, corpus

COMMAND, MARKER = "touch it-ran", "it-ran"
MAX_SECONDS, MAX_MEBIBYTES = 10, 1024  # one is of 4 GiB; nearly all others stay under 1 s and 20 MiB
Report = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return corpus(COMMAND)


@pytest.fixture(scope="module")
def reports(folder: Path, cases: dict[str, Case]) -> dict[str, Report]:
    """What became of the good files by their paths, and of the evil ones by their names."""
    good = list(write_forms(folder).values())
    good.append(folder / "with-source.pkl")
    good[-1].write_bytes(official_pickle(stylegan2(), source=f"import os\nos.system({COMMAND!r})"))
    for i, (what, _) in enumerate(cases.values()):
        path = folder / f"{i}.pkl"
        path.write_bytes(what) if isinstance(what, bytes) else what(path)
    (folder / "good.json").write_text(json.dumps([path.name for path in good]))
    (folder / "bad.json").write_text(json.dumps([f"{i}.pkl" for i in range(len(cases))]))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    run = [sys.executable, "-W", "error", ROOT / "tests" / "hostile_run.py", "good.json", "bad.json"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=folder, env=environment, timeout=280, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Report] = json.loads(done.stdout)
    return {path.name: found[path.name] for path in good} | {name: found[f"{i}.pkl"] for i, name in enumerate(cases)}


def test_every_evil_file_is_refused_in_one_line_that_says_why(
    reports: dict[str, Report], cases: dict[str, Case]
) -> None:
    assert len(cases) > 200
    for name, (_, reason) in cases.items():
        line = reports[name]["said"]
        assert line.startswith("error: model "), name
        assert reason in line, (name, line)
        assert line.isprintable(), name
        assert len(line) < 250, (name, line)


def test_no_file_takes_more_time_and_memory_than_it_may(reports: dict[str, Report]) -> None:
    for name, report in reports.items():
        assert report["seconds"] < MAX_SECONDS, (name, report)
        assert report["mebibytes"] < MAX_MEBIBYTES, (name, report)


def test_no_file_runs_imports_or_writes_anything(reports: dict[str, Report], folder: Path) -> None:
    assert {name: report for name, report in reports.items() if report["imported"] or report["noted"]} == {}
    assert not (folder / MARKER).exists()


def test_good_files_are_opened_whatever_source_text_they_carry(reports: dict[str, Report]) -> None:
    good = [name for name, report in reports.items() if report["said"] == "16 px"]
    assert len(good) == 6
    assert good[-1] == "with-source.pkl"


@pytest.mark.parametrize("name", ["os system", "posix system", "protocol 0", "protocol 2", "legacy magic number"])
def test_an_unpickler_that_is_not_careful_runs_them(cases: dict[str, Case], name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(cases[name][0])  # type: ignore[arg-type]
    code = "import pickle\npickle.load(open('file', 'rb'))"
    subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False, timeout=60)
    assert (tmp_path / MARKER).exists()
