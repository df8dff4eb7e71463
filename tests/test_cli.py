"""The command line explains itself, starts quickly, and ends with the exit code that was promised."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest
from conftest import ROOT, Done

import cli
from pipeline.graph import SECTIONS
from reanimate import __version__

Call = Callable[..., Done]


def walk(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, (*words, name))


COMMANDS = [pytest.param(words, command, id=" ".join(words) or "reanimate") for words, command in walk(cli.root)]
LEAVES = [case for case in COMMANDS if not isinstance(case.values[1], click.Group)]
PROMISED = {
    "run", "plan", "pose export", "pose apply", "pose show", "invert", "evaluate", "bench reconstruct", "models list",
    "models show", "models import", "models export", "models calibrate", "models fetch", "bench parity", "bench pass",
    "inpaint", "upscale", "score", "mix", "bench tables", "bench dip", "bench score",
    "train", "cache list", "cache verify", "cache clean", "doctor",
}  # fmt: skip


def examples(command: click.Command) -> list[str]:
    text = " ".join((command.help or "").split())
    return re.findall(r"Example: (reanimate [^.]*(?:\.\w[^.]*)*)", text)


def test_promised_commands_are_there() -> None:
    assert {" ".join(words) for words, _ in walk(cli.root)} >= PROMISED


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_help_explains_every_option(call: Call, words: tuple[str, ...], command: click.Command) -> None:
    shown = call(*words, "--help").out
    assert call(*words, "-h").out == shown
    assert shown.startswith(f"Usage: {' '.join(('reanimate', *words))} ")
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts} has no help"
            assert parameter.opts[0] in shown


def test_help_says_the_defaults_of_the_settings_that_options_stand_for() -> None:
    sections = {
        "--gain": "apply",
        "--reference": "apply",
        "--carry": "apply",
        "--smooth": "smooth",
        "--shrink": "refine",
        "--tune": "rehearse",
        "--rehearse": "apply",
        "--limit": "apply",
    }
    fields = {"--smooth": "seconds"}
    options = {option.opts[0]: option for option in cli.root.commands["run"].params if isinstance(option, click.Option)}
    for name, section in sections.items():
        default = getattr(SECTIONS[section](), fields.get(name, name[2:]))
        shown = f"{default:g}" if isinstance(default, int | float) else default
        if isinstance(default, bool):
            shown = name[2:] if default else f"no {name[2:]}"
        said = re.search(r"\[default: ([^]]*)\]", options[name].help or "")
        assert said is not None and said[1].removesuffix(".0") == shown, name


def test_every_command_is_listed_with_a_whole_sentence(call: Call) -> None:
    for words, command in walk(cli.root):
        if isinstance(command, click.Group):
            listed = call(*words, "--help").out.partition("Commands:")[2]
            assert "..." not in listed, "a sentence is cut short"
            assert all(name in listed for name in command.commands)


@pytest.mark.parametrize(("words", "command"), LEAVES)
def test_every_command_has_an_example_that_parses(words: tuple[str, ...], command: click.Command) -> None:
    found = examples(command)
    assert found, f"{' '.join(words)} shows no example"
    for example in found:
        arguments = shlex.split(example)
        assert arguments[: len(words) + 1] == ["reanimate", *words], example
        command.make_context(words[-1], arguments[len(words) + 1 :])


@pytest.mark.parametrize(("words", "command"), LEAVES)
def test_example_stands_on_one_line_of_the_help(call: Call, words: tuple[str, ...], command: click.Command) -> None:
    lines = [line.strip() for line in call(*words, "--help").out.splitlines()]
    assert f"Example: {examples(command)[0]}" in lines, "to be copied as it is"


def test_version(call: Call) -> None:
    assert call("--version").out == f"reanimate, version {__version__}\n"


def test_no_command_is_wrong_usage_and_shows_the_help(call: Call) -> None:
    done = call(code=2)
    assert "Usage: reanimate" in done.out + done.err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_no_torch(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "reanimate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"torch", "dlib", "cv2", "scipy", "numpy", "lpips"}


def test_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m reanimate cache list --cache-dir nowhere | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_interrupt_exits_with_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reanimate.checkpoints.bundle.embedded_models", interrupt)
    assert call("models", "list", code=130).err.strip() == "interrupted; run the same command again to go on"


def test_too_little_memory_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("reanimate.checkpoints.bundle.embedded_models", refuse)
    assert call("models", "list", code=1).error == "error: not enough memory"
