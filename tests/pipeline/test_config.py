"""Settings: file, then --set, then flags; anything unknown or of the wrong type is one line that names it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest

from pipeline.config import build, convert, fraction
from reanimate.errors import ConfigError, MediaError


class Space(enum.Enum):
    W_PLUS = "w+"
    Z = "z"


@dataclass(frozen=True, slots=True)
class Invert:
    steps: int = 100
    lr: float = 0.01
    preset: Literal["fast", "best"] = "fast"
    seed: int | None = None
    layers: tuple[int, ...] = ()
    size: tuple[int, int] = (8, 8)
    name: str = ""
    note: str | None = None
    warm: bool = True
    rate: Fraction = Fraction(25)
    space: Space = Space.W_PLUS
    model: Path = Path("m")
    radius: float | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.lr <= 0:
            raise ConfigError("lr", f"expects a number above zero, got {self.lr}")


@dataclass(frozen=True, slots=True)
class Apply:
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Needs:
    text: str


SECTIONS = {"invert": Invert, "apply": Apply}


def settings(*sets: str) -> Invert:
    made = build(SECTIONS, sets=sets)["invert"]
    assert isinstance(made, Invert)
    return made


def test_nothing_given_is_the_defaults() -> None:
    assert build(SECTIONS) == {"invert": Invert(), "apply": Apply()}


def test_flags_win_over_sets_and_sets_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[invert]\nsteps = 1\nseed = 1\nlr = 1\n[apply]\ngain = 2\n")
    made = build(
        SECTIONS,
        file=file,
        sets=["invert.seed=2", "invert.lr=2"],
        overrides={"invert": {"lr": 3, "steps": None}, "apply": {}},
    )
    assert (made["invert"].steps, made["invert"].seed, made["invert"].lr) == (1, 2, 3.0)
    assert made["apply"] == Apply(2.0)
    assert type(made["apply"].gain) is float, "a whole number must not make another key"


def test_every_type_is_read() -> None:
    made = settings(
        "invert.layers=[1, 2]", "invert.size=[3,4]", "invert.name=plain word", "invert.warm=false", "invert.note=none",
        "invert.rate=30000/1001", "invert.space=z", "invert.model=a/b", "invert.preset=best", "invert.radius=2",
    )  # fmt: skip
    assert (made.layers, made.size, made.name, made.warm) == ((1, 2), (3, 4), "plain word", False)
    assert (made.note, made.rate, made.space) == ("none", Fraction(30000, 1001), Space.Z)
    assert (made.model, made.preset, made.radius) == (Path("a/b"), "best", 2.0)
    assert settings("invert.seed=none").seed is None
    assert settings("invert.name=a=b").name == "a=b"
    assert settings('invert.name="quoted"').name == "quoted"
    assert settings("invert.name=2020-01-01").name == "2020-01-01"
    assert settings("invert.name=12").name == "12"
    assert settings("invert.name=x\ny=1").name == "x\ny=1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("invret.steps=1", "setting invret: there is no such section; the nearest is invert"),
        ("invert.stesp=1", "setting invert.stesp: there is no such setting; the nearest is steps"),
        ("invert.steps=x", "setting invert.steps: expects a whole number, got 'x'"),
        ("invert.steps=1.5", "setting invert.steps: expects a whole number, got 1.5"),
        ("invert.steps=true", "setting invert.steps: expects a whole number, got True"),
        ("invert.lr=true", "setting invert.lr: expects a number, got True"),
        ("invert.lr=nan", "setting invert.lr: expects a finite number, got nan"),
        ("invert.lr=1" + "0" * 400, "expects a finite number"),
        ("invert.seed=x", "setting invert.seed: expects a whole number, got 'x'"),
        ("invert.warm=1", "setting invert.warm: expects true or false, got 1"),
        ("invert.preset=bset", "setting invert.preset: expects one of fast, best, got 'bset'"),
        ("invert.layers=3", "setting invert.layers: expects a list, got 3"),
        ("invert.layers=[1, 'a']", "setting invert.layers: expects a whole number, got 'a'"),
        ("invert.size=[1]", "setting invert.size: expects a list of 2, got [1]"),
        ("invert.rate=1e999999999", "setting invert.rate: expects a fraction such as 30000/1001"),
        ("invert.rate=1/0", "setting invert.rate: expects a fraction"),
        ("invert.space=w", "setting invert.space: expects one of w+, z, got 'w'"),
        ("invert.radius=x", "setting invert.radius: expects a number or one of auto, got 'x'"),
        ("invert.name=\udc80", "setting invert.name: expects text in utf-8"),
        ("invert.steps=0", "setting invert.steps: must be at least 1, got 0"),
        ("invert.lr=0", "setting invert.lr: expects a number above zero, got 0.0"),
        ("steps=1", "setting --set: expects stage.key=value, got 'steps=1'"),
        ("invert.steps", "setting --set: expects stage.key=value, got 'invert.steps'"),
        ("invert.steps=" + "[" * 5000, "setting invert.steps: expects a whole number"),
    ],
)
def test_every_mistake_is_one_line_that_names_it(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[invert]\nsteps = \n", "line 2"),
        (b"[invert]\nsteps = 1\nsteps = 2\n", "line 3"),
        (b"[invert]\nname = '\xff'\n", "line 2"),
        (b"x = " + b"[" * 9000, "not valid toml"),
        (b"x = 1" + b"0" * 9000, "not valid toml"),
        (b"#" * (1 << 21), "larger than"),
    ],
)
def test_file_that_is_not_toml_is_one_line_with_its_place(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(text)
    with pytest.raises(MediaError) as caught:
        build(SECTIONS, file=file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        build(SECTIONS, file=tmp_path / "none.toml")


def test_setting_outside_a_table_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("steps = 3\n")
    with pytest.raises(ConfigError, match=r"steps: expects a table \[steps\], got 3"):
        build(SECTIONS, file=file)


def test_setting_without_default_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"needs\.text: has no default; pass --set needs\.text=VALUE"):
        build({"needs": Needs})
    assert build({"needs": Needs}, sets=["needs.text=a"])["needs"] == Needs("a")


def test_type_that_settings_cannot_have_is_the_programmers_error() -> None:
    with pytest.raises(TypeError, match="settings cannot be of type"):
        convert({}, dict)


def test_fractions_keep_their_value() -> None:
    assert fraction("30000/1001") == Fraction(30000, 1001)
    assert fraction(25) == Fraction(25)
    for value in (True, 25.0, "1.5", "1/00", "1/2/3", None):
        with pytest.raises(ValueError, match="expects a fraction"):
            fraction(value)
