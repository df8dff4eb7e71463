"""Models can be listed and looked at, by people and by scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from conftest import Done

from reanimate.checkpoints.bundle import DEFAULT_MODEL, read_card
from reanimate.images import read_image

Call = Callable[..., Done]


def test_list_names_the_embedded_model(call: Call) -> None:
    lines = call("models", "list").out.splitlines()
    assert any(line.startswith(f"{DEFAULT_MODEL} ") and " px  " in line for line in lines)


def test_list_as_json(call: Call) -> None:
    cards = json.loads(call("models", "list", "--json").out)
    card = next(card for card in cards if card["name"] == DEFAULT_MODEL)
    assert {"family", "config", "digest", "files", "licence", "provenance", "measured"} <= set(card)


def test_show_says_how_a_model_was_made(call: Call, tiny_bundle: Path) -> None:
    shown = call("models", "show", tiny_bundle).out
    assert f"tiny: stylegan2, digest {read_card(tiny_bundle).digest[:12]}, licence MIT" in shown
    assert "trained_on: nothing" in shown
    assert json.loads(call("models", "show", tiny_bundle, "--json").out)["name"] == "tiny"


def test_show_without_a_name_is_the_embedded_model(call: Call) -> None:
    assert call("models", "show").out.startswith(f"{DEFAULT_MODEL}: ")


def test_show_writes_the_same_faces_for_the_same_seed(call: Call, tiny_bundle: Path, tmp_path: Path) -> None:
    for name, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        assert call("models", "show", tiny_bundle, "-o", name, "--seed", seed).out.splitlines()[-1] == name
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    assert read_image(tmp_path / "a.png").shape == (4 * 18 - 2, 8 * 18 - 2, 3)


def test_json_stays_json_when_a_sheet_is_written_too(call: Call, tiny_bundle: Path) -> None:
    json.loads(call("models", "show", tiny_bundle, "--json", "-o", "a.png").out)


def test_unknown_model_and_unwritable_sheet_are_one_line(call: Call, tiny_bundle: Path) -> None:
    assert f"one of: {DEFAULT_MODEL}" in call("models", "show", "nobody", code=1).error
    done = call("models", "show", tiny_bundle, "-o", "nowhere/a.png", code=1)
    assert "no such folder" in done.error
    assert done.out == ""
