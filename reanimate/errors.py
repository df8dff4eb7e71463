"""Everything this library raises on purpose.

    ReanimateError
    ├── MediaError            a picture or video cannot be read or written        .path
    │   └── FFmpegError       ffmpeg failed                                        .path .tail
    ├── FaceNotFound          no usable face                                       .frames .num_frames
    ├── ModelError            a model is unknown, damaged or does not fit          .model
    ├── WeightsUnavailable    weights that are fetched on demand are not at hand   .url
    ├── ConfigError           a setting is unknown or out of range                 .key
    └── StoreError            the cache cannot be read or written                  .path

Each message is one line: what, which value, what to do. ValueError stays what it is in Python: a programmer passed
an array of the wrong shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ReanimateError(Exception):
    """Base of every error a user can cause and cure."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a path or a card may hold line breaks of its own


class MediaError(ReanimateError):
    """A picture or a video at `path` cannot be read or written."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        super().__init__(f"{path}: {reason}")


class FFmpegError(MediaError):
    """ffmpeg failed on `path`; `tail` holds its own last lines."""

    def __init__(self, path: Path | str, reason: str, tail: Sequence[str] = ()) -> None:
        self.tail = tuple(tail)
        said = f" (ffmpeg: {'; '.join(self.tail)})" if self.tail else ""
        super().__init__(path, reason + said)


class FaceNotFound(ReanimateError):
    """No usable face in `frames` (0-based indices into the source) of `num_frames`."""

    def __init__(self, frames: Sequence[int], num_frames: int, cure: str = "", where: Path | str = "") -> None:
        self.frames, self.num_frames = tuple(frames), num_frames
        place = f"{where}: " if where else ""
        if num_frames == 1:
            what = "no human face found"
        else:
            what = f"no face in {len(frames)} of {num_frames} frames (first: {frames[0]})"
        super().__init__(place + what + (f"; {cure}" if cure else ""))


class ModelError(ReanimateError):
    """A model bundle is unknown, damaged, or does not fit what is asked of it."""

    def __init__(self, model: Path | str, reason: str) -> None:
        self.model = str(model)
        super().__init__(f"model {model}: {reason}")


class WeightsUnavailable(ReanimateError):
    """Weights that are fetched on demand are neither on disk nor to be had from `url`."""

    def __init__(self, what: str, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"{what}: weights are not on this machine and {url} cannot be fetched ({reason})")


class ConfigError(ReanimateError):
    """A setting named `key` is unknown or its value cannot be used."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(f"setting {key}: {reason}")


class StoreError(ReanimateError):
    """The cache at `path` cannot be read or written."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        super().__init__(f"cache {path}: {reason}")
