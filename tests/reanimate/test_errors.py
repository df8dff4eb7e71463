from __future__ import annotations

import re

import pytest

from reanimate import errors
from reanimate.errors import (
    ConfigError,
    FaceNotFound,
    FFmpegError,
    MediaError,
    ModelError,
    ReanimateError,
    StoreError,
    WeightsUnavailable,
)

EVERY = [
    ReanimateError("first\nsecond"),
    MediaError("a\nb.png", "first\nsecond"),
    FFmpegError("a.mp4", "cannot decode", ["moov atom not found", "Invalid\r\ndata"]),
    FaceNotFound([3, 4], 10, "trim\nit", "clip\n.mp4"),
    FaceNotFound([0], 1),
    ModelError("a\nb", "first\nsecond"),
    WeightsUnavailable("the loss", "https://x", "first\nsecond"),
    ConfigError("gain\n", "first\nsecond"),
    StoreError("a\nb", "first\nsecond"),
]


def classes_below(top: type[Exception]) -> set[type[Exception]]:
    return {top}.union(*(classes_below(c) for c in top.__subclasses__() if c.__module__ == errors.__name__))


@pytest.mark.parametrize("error", EVERY, ids=lambda e: type(e).__name__)
def test_message_is_one_line(error: ReanimateError) -> None:
    assert len(str(error).splitlines()) == 1


def test_every_class_has_its_message_checked_here() -> None:
    assert {type(error) for error in EVERY} == classes_below(ReanimateError)


def test_tree_in_docstring_is_the_tree_of_classes() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ]*)(?:[├└]── )?([A-Z]\w+(?:Error|Found|Unavailable))\b", line)
        if match:
            depth = (line.index(match[2]) - 4) // 4
            path = [*path[:depth], match[2]]
            drawn[match[2]] = path[depth - 1] if depth else "Exception"
    real = {c.__name__: c.__bases__[0].__name__ for c in classes_below(ReanimateError)}
    assert drawn == real


def test_attributes_in_docstring_are_on_the_errors() -> None:
    promised = re.findall(r"── (\w+) .*?(\.[\w. ]+)$", errors.__doc__ or "", re.MULTILINE)
    assert len(promised) == len(classes_below(ReanimateError)) - 1
    for name, attributes in promised:
        error = next(e for e in EVERY if type(e).__name__ == name)
        for attribute in attributes.split():
            assert hasattr(error, attribute.removeprefix(".")), f"{name}{attribute}"


def test_ffmpeg_error_carries_what_ffmpeg_said() -> None:
    error = FFmpegError("a.mp4", "cannot decode", ["moov atom not found"])
    assert error.tail == ("moov atom not found",)
    assert "moov atom not found" in str(error)


def test_face_not_found_says_which_file_how_many_frames_and_the_cure() -> None:
    error = FaceNotFound([3, 4], 10, "trim the clip", "clip.mp4")
    assert (error.frames, error.num_frames) == ((3, 4), 10)
    assert str(error) == "clip.mp4: no face in 2 of 10 frames (first: 3); trim the clip"
