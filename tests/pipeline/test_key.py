"""Keys: the same for the same work, different for different work, on every machine and in every year."""

from __future__ import annotations

import enum
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.key import canonical, document_key, file_digest, key_document, params_document, stage_key
from reanimate.errors import MediaError


class Mode(enum.Enum):
    FAST = "fast"


@dataclass(frozen=True)
class Params:
    steps: int = 1000
    lr: float = 1e-3
    layers: tuple[int, ...] = (0, 1)
    rate: Fraction = Fraction(30000, 1001)
    mode: Mode = Mode.FAST
    name: str | None = None
    device: str = field(default="cpu", metadata={"key": False})


# a change of any of these makes every cached result of every user a stranger: bump SCHEMA with it, on purpose
PINNED_INVERT = "00f7bfd1406f997eb8f0f435e57153de55a17d85fa5dcb1f291acf976aee41cc"
PINNED_SMOOTH = "37498ccd8f719913d2ae63dcca5fcb616f21473aa3886d299d9c20160ae4fdfc"


def test_hashes_are_pinned() -> None:
    assert stage_key("invert", 1, Params(), {"crops": "sha256:" + "0" * 64}) == PINNED_INVERT
    assert stage_key("smooth", 2, Params(lr=0.1, name="ä"), {}) == PINNED_SMOOTH


def test_key_is_the_sha256_of_the_canonical_document() -> None:
    text = '[1,"s",3,{"layers":[0,1],"lr":0.001,"mode":"fast","name":null,"rate":"30000/1001","steps":1000},{"a":"k"}]'
    assert stage_key("s", 3, Params(), {"a": "k"}) == hashlib.sha256(text.encode()).hexdigest()


def test_canonical_json_is_sorted_dense_and_utf8() -> None:
    assert canonical({"b": (1, 2.0, True, None), "a": "ü"}) == '{"a":"ü","b":[1,2.0,true,null]}'
    assert canonical(np.float64(0.1)) == canonical(0.1) == "0.1"
    assert canonical(Fraction(25)) == '"25/1"'


def test_any_part_changes_the_key() -> None:
    base = stage_key("s", 1, Params(), {"a": "k"})
    others = [
        stage_key("t", 1, Params(), {"a": "k"}),
        stage_key("s", 2, Params(), {"a": "k"}),
        stage_key("s", 1, Params(steps=1001), {"a": "k"}),
        stage_key("s", 1, Params(), {"b": "k"}),
        stage_key("s", 1, Params(), {"a": "l"}),
    ]
    assert len({base, *others}) == 6


def test_device_is_not_in_the_key() -> None:
    assert "device" not in params_document(Params())
    assert stage_key("s", 1, Params(device="cuda"), {}) == stage_key("s", 1, Params(), {})


@pytest.mark.parametrize("value", [Path("x"), datetime(2020, 1, 1), b"x", {1, 2}, np.int64(3), object(), "\udc80"])
def test_what_has_no_place_in_a_key_is_refused_by_its_name(value: object) -> None:
    @dataclass(frozen=True)
    class Odd:
        where: object

    with pytest.raises(TypeError, match=r"Odd\.where"):
        params_document(Odd(value))
    with pytest.raises(TypeError, match=r"Odd\.where\[1\]"):
        params_document(Odd([1, value]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"Params\.lr"):
        params_document(Params(lr=value))


def test_only_plain_text_is_a_dictionary_key() -> None:
    with pytest.raises(TypeError, match="plain text"):
        canonical({1: 2})


def test_document_survives_json() -> None:
    document = key_document("s", 1, Params(), {"a": "k"})
    assert document_key(json.loads(json.dumps(document))) == stage_key("s", 1, Params(), {"a": "k"})
    with pytest.raises(ValueError, match="not a key document"):
        document_key({"stage": "s"})


def test_file_digest_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"x" * 3_000_000)
    assert file_digest(path) == "sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_missing_file_folder_and_pipe_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    wrong: list[tuple[Path | str, str]] = [
        (tmp_path / "none", "no such file or directory"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "not a regular file"),
        ("a\0b", "not a file name"),
    ]
    for path, said in wrong:
        with pytest.raises(MediaError, match=said) as caught:
            file_digest(path)
        assert "\n" not in str(caught.value)
