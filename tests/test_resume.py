"""What a kill, an interrupt or an error costs: at most the frame it comes in."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import Done, stages

from pipeline.commands.terminal import TerminalReporter
from pipeline.graph import open_model, run_graph, settings
from pipeline.runner import execute
from pipeline.store import Store

Call = Callable[..., Done]
STEPS = ("invert.first_steps=25", "invert.steps=25")
OPTIONS = [word for text in STEPS for word in ("--set", text)]
# bytes of frames.log: which frame, the loss, 6 layers of 8 numbers, and a checksum; the first is what the shot shares
HEADER, RECORD = 12, 4 + 4 * (1 + 6 * 8) + 4


# what was started in the background of a script inherits that it ignores ctrl-c, and so would its children
MAIN = "import signal, cli; signal.signal(signal.SIGINT, signal.default_int_handler); cli.main()"


def start(cache: Path, arguments: Sequence[object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    environment = {**os.environ, "REANIMATE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=cache.parent, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_frames(process: subprocess.Popen[str], cache: Path, count: int) -> Path:
    """The log of an inversion in progress, once it holds so many frames."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for log in cache.glob("invert/*.partial/frames.log"):
            if log.stat().st_size >= HEADER + (1 + count) * RECORD:
                return log
        if process.poll() is not None:
            pytest.fail(f"it was over before it was interrupted: {process.communicate()[1]}")
        time.sleep(0.005)
    process.kill()
    pytest.fail("no frame was inverted within two minutes")


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, source: Path, face_picture: Path, tiny_bundle: Path
) -> Path:
    """The cache of a run that nothing came in between of."""
    cache = tmp_path_factory.mktemp("uninterrupted") / "cache"
    model = open_model(str(tiny_bundle))
    execute([run_graph(source, face_picture, model, settings(model, sets=STEPS))], Store(cache))
    return cache


@pytest.mark.parametrize(
    ("signal_number", "exit_code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)], ids=["kill -9", "ctrl-c"]
)
def test_interrupted_inversion_goes_on_and_ends_the_same(
    call: Call, uninterrupted: Path, source: Path, face_picture: Path, tiny_bundle: Path, tmp_path: Path,
    signal_number: signal.Signals, exit_code: int,
) -> None:  # fmt: skip
    cache = tmp_path / "cache"
    command = ["run", source, face_picture, "--model", tiny_bundle, *OPTIONS, "-o", "out.mp4"]
    process = start(cache, command)
    wait_for_frames(process, cache, 3)
    process.send_signal(signal_number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == exit_code
    assert "Traceback" not in said
    if signal_number == signal.SIGINT:
        assert said.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert len(stages(cache)["invert"]) == 1, "the target's; the source's was under way"
    said = call(*command).err
    assert re.search(r"source/invert: going on from frame [3-9] of 10", said)
    assert set(re.findall(r"target/\w+", said)) == {"target/rehearse"}, "which comes last"
    assert (tmp_path / "out.mp4").is_file()
    assert stages(cache) == stages(uninterrupted)
    for path in uninterrupted.glob("*/*/*"):
        if path.suffix in (".npz", ".npy", ".mp4"):
            assert (cache / path.relative_to(uninterrupted)).read_bytes() == path.read_bytes(), path
    assert list(cache.glob("*/*.partial")) == []


def test_plan_says_that_an_interrupted_inversion_goes_on(
    call: Call, source: Path, face_picture: Path, quick: list[object], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def advance(self: TerminalReporter, steps: int = 1, note: str = "") -> None:
        if steps and "passes" in note and self._label == "source/invert":
            raise KeyboardInterrupt

    command = ("run", source, face_picture, *quick, "-o", "out.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(TerminalReporter, "advance", advance)
        done = call(*command, code=130)
    assert done.err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "goes on from where it was interrupted" in call("plan", source, face_picture, *quick).out
    assert "source/invert: going on from frame 1 of 10" in call(*command).err
