"""Open files as the command line does and print what each of them got: hostile_run.py GOOD.json BAD.json.

The good ones are opened first, to have everything imported that opening needs.
"""

from __future__ import annotations

import encodings.cp437  # for zipfile  # noqa: F401
import json
import sys
import time
from pathlib import Path

import torch

from reanimate.checkpoints.official import build, open_official
from reanimate.errors import ModelError

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

events: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note everything but reading, and but the annotations of our own configurations, which typing evaluates."""
    reads = event in {"builtins.id", "sys._getframe"} or (event == "open" and arguments[1] in {"r", "rb"})
    if not reads and sys._getframe(1).f_globals.get("__name__") != "typing":
        events.append(f"{event} {arguments!r:.200}")


def memory(line: str) -> int:
    """KiB that the process has (VmRSS) or has had at most (VmHWM)."""
    return int(STATUS.read_text().split(f"{line}:")[1].split()[0])


def opened(path: Path) -> dict[str, object]:
    """What came of it, and what it took: seconds, MiB, modules, and what an audit hook has noted."""
    RESET.write_text("5")  # the most that the process has had is what it has now
    before, modules, began = memory("VmRSS"), set(sys.modules), time.perf_counter()
    events.clear()
    try:
        said = f"{build(open_official(path), path).resolution} px"
    except ModelError as error:
        said = f"error: {error}"
    noted, seconds = list(events), time.perf_counter() - began
    mebibytes, imported = (memory("VmHWM") - before) / 1024, sorted(set(sys.modules) - modules)
    return {"said": said, "seconds": seconds, "mebibytes": mebibytes, "imported": imported, "noted": noted}


if __name__ == "__main__":
    torch.set_num_threads(1)
    good, bad = ([Path(name) for name in json.loads(Path(name).read_text())] for name in sys.argv[1:])
    for path in good:
        opened(path)
    sys.addaudithook(watch)
    json.dump({path.name: opened(path) for path in good + bad}, sys.stdout)
