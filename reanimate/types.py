"""The nouns, and the conventions every other module keeps.

Five symbols name every shape: T frames, N pictures in a batch, L = num_ws, D = w_dim, R = resolution (px).

1. Time is axis 0 and never shrinks: a frame without a face is a False in a mask, not a missing row.
2. One RGB: uint8 [H, W, 3] on disk and for detectors, float32 [N, 3, H, W] in [-1, 1] in torch; `images` alone crosses.
3. Frame rates are Fractions: 30000/1001 stays 30000/1001.
4. Points are (x, y) in px; a quad is four of them, top left, bottom left, bottom right, top right.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]

ATTRIBUTES = ("yaw", "pitch", "mouth", "eyes", "smile")
"""What landmarks show of a pose, in the units of faces.expression.Expression; A of them."""
HEAD = slice(0, 2)
"""Of ATTRIBUTES, those of where the head points."""
NATURAL = np.array([8.0, 5.0, 0.07, 0.04, 0.04])
"""[A] standard deviations of a lively speaker."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before its frames are decoded."""

    width: int
    """px, after rotation."""
    height: int
    """px, after rotation."""
    num_frames: int
    """Frames at `frame_rate`; decoding is the last word for a damaged file."""
    frame_rate: Fraction
    """Frames per second: exact for a constant rate, nominal for a variable one."""
    has_audio: bool
    constant_rate: bool = True
    """False if frames are resampled to `frame_rate` when decoded."""
    video_delay: float = 0.0
    """Seconds from the start of the file to the first video frame."""
    duration: float = 0.0
    """Seconds from the start of the file to the end of its longest stream."""
    audio_codecs: tuple[str, ...] = ()
    """One name per sound track, as ffmpeg names codecs."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """One face followed through a video."""

    detected: Bool
    """[T]"""
    landmarks: Float32
    """[T, 68, 2] px, NaN where no face was detected."""
    quads: Float32
    """[T, 4, 2] px, smoothed over time, always finite."""
    cuts: Bool
    """[T] True where a frame starts a new shot; the first frame always does."""


def shots(cuts: Bool) -> list[slice]:
    """The runs of frames between `cuts` [T], in order; together they are every frame."""
    starts = [0, *(int(i) for i in np.flatnonzero(cuts) if i > 0)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(cuts)], strict=True)]


def spread(total: int, most: int) -> list[int]:
    """Up to `most` of `total` indices, evenly, the first and the last among them."""
    at: list[int] = np.linspace(0, total - 1, min(most, total)).round().astype(int).tolist()
    return at


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """The codes of a clip in one generator."""

    ws: Float32
    """[T, L, D]"""
    loss: Float32
    """[T] inversion loss of each frame, in the units of the loss that was asked for; NaN where nothing was inverted."""
    frame_rate: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Who: the mean code of a clip, or the code of one still."""

    ws: Float32
    """[L, D]"""
    attributes: Float32 | None = None
    """[A] the pose it was filmed in; NaN or None where no landmarks tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """What an identity's code does when its own face moves, one attribute at a time: M poses, the one at rest not among
    them.
    """

    attribute: Int64
    """[M] which of ATTRIBUTES moves."""
    shown: Float32
    """[M] how far, as in PoseDeltas.moves."""
    rest: Float32
    """[A] the same at rest."""
    offsets: Float32
    """[M, L, D] from the code at rest."""
    reader: Float32
    """[A, reading.SIZE] what its pictures show, by their px; see `reading`."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseDeltas:
    """A performance without its performer: `identity + gain * scale * deltas` are latents."""

    deltas: Float32
    """[T, L, D] offsets from the clip's mean latent, unit RMS over the clip, unitless."""
    scale: float
    """W+ units per unit of delta: the clip's own RMS."""
    frame_rate: Fraction
    model: str = ""
    """Digest of the model whose W+ these offsets live in."""
    normalisation: str = "clip"
    """How `deltas` were brought to unit size: `clip` is one RMS over the whole clip, `frame` one of each frame."""
    attributes: Float32 | None = None
    """[T, A] what the landmarks showed, NaN where no face was seen; None where nobody looked."""
    head: Float32 | None = None
    """[T, 4] what alignment took away: roll (radians, clockwise), log of the size, and shift right and down in halves
    of a crop's side, each less its shot's mean; None where nobody looked."""
    moves: Float32 | None = None
    """[T, A] what anybody is to show, without gaps: yaw and pitch in degrees from the middle of the shot, the gap
    between the lips, eyes from 0, shut, to 1, as open as they mostly are, and the width of the mouth, as a head that is
    not turned shows it, from its mean over the shot. None where no landmarks tell."""
    cuts: Bool | None = None
    """[T] whether a shot begins; None is one shot."""

    @property
    def starts(self) -> Bool:
        """[T] the same, without None."""
        return np.zeros(len(self.deltas), bool) if self.cuts is None else self.cuts
