"""A video, or a still as a clip of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from reanimate.images import is_picture, read_image
from reanimate.types import UInt8, VideoInfo
from reanimate.video import frames, probe


def open_clip(path: Path) -> tuple[VideoInfo, Iterator[UInt8]]:
    """What is known of a clip, and its frames [H, W, 3].

    Raises:
        MediaError: the file is missing, or neither a video nor a picture.
    """
    if is_picture(path):
        picture = read_image(path)
        height, width = picture.shape[:2]
        return VideoInfo(width, height, 1, Fraction(1), has_audio=False), iter([picture])
    info = probe(path)
    return info, frames(path, info)


def spans(indices: list[int], most: int = 6) -> str:
    """Frame numbers in words: `3, 8-12, 40`; of more than `most` runs, the first ones and `…`."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")
