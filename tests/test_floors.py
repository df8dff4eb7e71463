"""The rooms stand on each other: cli → pipeline → reanimate, and inside the library errors → … → training."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

UP = {"reanimate/__main__.py"}  # `python -m reanimate` is the command line: the one named exception
LIBRARY = sorted((ROOT / "reanimate").rglob("*.py"))
RUNNER = sorted((ROOT / "pipeline").rglob("*.py"))
EVERY = [*LIBRARY, *RUNNER, ROOT / "cli.py"]

# a module may import from its own floor and from those below; the longest name that fits says which is its own
FLOORS = {
    "reanimate.errors": 0,
    "reanimate.types": 0,
    "reanimate": 0,
    "reanimate.motion": 1,
    "reanimate.moves": 1,
    "reanimate.smoothing": 1,
    "reanimate.subspace": 1,
    "reanimate.pose_file": 1,
    "reanimate.agreement": 1,
    "reanimate.images": 1,
    "reanimate.reading": 1,
    "reanimate.video": 2,
    "reanimate.faces": 2,
    "reanimate.generators": 2,
    "reanimate.inversion.encoder": 2,  # a network, as the generators are: a bundle holds one
    "reanimate.inversion.features": 2,
    "reanimate.checkpoints": 3,
    "reanimate.inversion": 4,
    "reanimate.colour": 4,
    "reanimate.restore": 5,
    "reanimate.training": 5,
    "reanimate.metrics": 5,
    "reanimate.calibration": 5,
    "pipeline": 6,
    "pipeline.commands": 7,
    "cli": 8,
    "reanimate.__main__": 9,
}

# where alone a package may be named
ROOMS: dict[str, set[str]] = {
    "dlib": {"reanimate/faces/detect.py", "reanimate/metrics.py"},
    "cv2": {
        "reanimate/images.py",
        "reanimate/video.py",
        "reanimate/faces/align.py",
        "reanimate/faces/expression.py",
        "reanimate/training/data.py",
    },
    "ffmpeg": {"reanimate/video.py"},
    "imageio_ffmpeg": {"reanimate/video.py"},
    "lpips": {"reanimate/inversion/losses.py", "reanimate/metrics.py"},
    "click": {"cli.py", *(str(p.relative_to(ROOT)) for p in (ROOT / "pipeline" / "commands").glob("*.py"))},
}
# BGR never leaves the modules that read and write pictures
COLOUR_ORDER = {"reanimate/images.py", "reanimate/video.py"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(path: Path, *, when_imported: bool = False) -> Iterator[str]:
    """Full names of the modules a file names; `when_imported` leaves out those named in functions and for types."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                is_module = (ROOT / Path(*inside.split("."))).with_suffix(".py").is_file()
                yield inside if is_module else str(node.module)
        if when_imported and (isinstance(node, ast.FunctionDef) or is_for_types(node)):
            continue
        waiting.extend(ast.iter_child_nodes(node))


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name.split(".")[0] in ("reanimate", "pipeline", "cli")}


def floor(module: str) -> int:
    fitting = [name for name in FLOORS if module == name or module.startswith(f"{name}.")]
    return FLOORS[max(fitting, key=len)]


def of_package(names: Iterator[str] | set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_imports_run_downhill(path: Path) -> None:
    own = floor(module_of(path))
    uphill = {name for name in ours(path) if floor(name) > own}
    assert not uphill


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_library_knows_nothing_of_the_runner_and_the_command_line(path: Path) -> None:
    looks_up = {name for name in ours(path) if not name.startswith("reanimate")}
    assert looks_up == ({"cli"} if name_of(path) in UP else set())


@pytest.mark.parametrize("path", RUNNER, ids=name_of)
def test_runner_knows_nothing_of_the_command_line(path: Path) -> None:
    assert "cli" not in of_package(ours(path))


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    known = {module_of(path): path for path in EVERY}
    edges = {name: ours(path) & known.keys() - {name} for name, path in known.items()}
    done: set[str] = set()
    while free := {name for name in edges.keys() - done if edges[name] <= done}:
        done |= free
    assert not edges.keys() - done


@pytest.mark.parametrize("package", ROOMS)
def test_package_is_named_only_in_its_room(package: str) -> None:
    found = {name_of(path) for path in EVERY if package in of_package(imported(path))}
    assert found <= ROOMS[package]
    assert found


@pytest.mark.parametrize("name", ["motion", "moves", "smoothing", "subspace"])
def test_motion_stands_on_types_alone(name: str) -> None:
    path = ROOT / "reanimate" / f"{name}.py"
    assert ours(path) - {"reanimate.motion", "reanimate.smoothing"} == {"reanimate.types"}
    assert of_package(imported(path)) - sys.stdlib_module_names <= {"numpy", "scipy", "reanimate"}


def test_types_and_errors_stand_on_nothing_of_ours() -> None:
    for name in ("types.py", "errors.py"):
        assert not ours(ROOT / "reanimate" / name)


def is_reversal_of_the_last_axis(node: ast.AST) -> bool:
    """`[..., ::-1]` or `[:, :, ::-1]`."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
        return False
    last = node.slice.elts[-1]
    return isinstance(last, ast.Slice) and last.step is not None and ast.unparse(last.step) == "-1"


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_colour_order_is_turned_only_where_pictures_are_read_and_written(path: Path) -> None:
    turns = [node.lineno for node in ast.walk(tree(path)) if is_reversal_of_the_last_axis(node)]  # type: ignore[attr-defined]
    named = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and (node.attr == "cvtColor" or "BGR" in node.attr)
    ]
    assert name_of(path) in COLOUR_ORDER or not turns + named
    assert turns or name_of(path) != "reanimate/images.py"


@pytest.mark.parametrize("path", [*LIBRARY, *RUNNER], ids=name_of)
def test_nothing_is_printed_left_or_asserted_below_the_command_line(path: Path) -> None:
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.exit", "exit", "quit", "os._exit"}, node.lineno


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_every_exception_that_is_caught_is_named(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name_of(path)}:{node.lineno}"


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_no_module_is_over_300_lines_and_no_function_over_60(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{name_of(path)}:{node.lineno} {node.name}"


def test_there_is_no_room_for_odds_and_ends() -> None:
    assert not [name_of(path) for path in EVERY if path.stem in {"utils", "util", "helpers", "common", "misc"}]


def run(code: str, *blocked: str, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Python code in a process in which some packages cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", block + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120)


def test_training_starts_without_detector_metric_and_ffmpeg() -> None:
    """A rented machine has torch and little else."""
    done = run("import reanimate.training.run", "dlib", "lpips", "ffmpeg", "imageio_ffmpeg", "click", "matplotlib")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("run", "--help"), ("train", "--help")], ids=str)
def test_help_comes_without_torch(arguments: tuple[str, ...]) -> None:
    code = "import runpy; runpy.run_module('reanimate', run_name='__main__')"
    blocked = ("torch", "torchvision", "cv2", "dlib", "scipy", "lpips", "ffmpeg", "matplotlib", "safetensors")
    done = run(code, *blocked, arguments=arguments)
    assert done.returncode == 0, done.stderr
    assert "reanimate" in done.stdout.lower()


def test_motion_comes_without_torch_and_opencv() -> None:
    done = run(
        "import reanimate.moves, reanimate.smoothing, reanimate.subspace, reanimate.pose_file",
        "torch",
        "cv2",
        "dlib",
        "ffmpeg",
        "click",
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_library_is_quiet() -> None:
    done = run("import reanimate, reanimate.images, reanimate.video, reanimate.faces.track, reanimate.inversion.invert")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_package_is_listed_for_installation() -> None:
    """`pipeline` and `cli` install as top-level modules, by an explicit list that is easily forgotten."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = set(ast.literal_eval(text.split("\npackages = ", 1)[1].split("]", 1)[0] + "]"))
    assert listed == {module_of(path) for path in EVERY if path.name == "__init__.py"}
    assert all((path.parent / "__init__.py").is_file() for path in [*LIBRARY, *RUNNER])
