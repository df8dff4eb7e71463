"""How one curve over time follows another, and how restless pictures are. Nothing but numpy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reanimate.types import Bool, Float32, UInt8, shots

Float64 = NDArray[np.float64]

MAX_LAG = 0.5  # seconds; farther apart, speech looks like other speech
LEAST_FRAMES = 3  # of which a correlation means anything at all
INNER = 17  # landmarks before this one are the outline of the jaw
_STILL = 1e-9  # what moves less does not move
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a result's curve has of its source's."""

    correlation: float
    """Pearson's; NaN where either does not move."""
    amplitude: float
    """Standard deviation of the result over that of the source; NaN where the source does not move."""
    lag: float
    """Frames by which the result is late, to a fraction of one; NaN where no shift within MAX_LAG fits best."""
    frames: int
    """In which both are known."""


def agree(source: Float64, result: Float64, frame_rate: Fraction, cuts: Bool) -> Agreement:
    """How a curve [T] follows the source's [T], NaN where unknown; `cuts` [T] is True where a shot begins.

    As in motion.decompose, movement is the difference from the mean of the shot.

    Raises:
        ValueError: curves of different lengths.
    """
    if not source.shape == result.shape == cuts.shape:
        raise ValueError(f"curves {source.shape} and {result.shape} and cuts {cuts.shape} are not of one clip")
    known = np.isfinite(source) & np.isfinite(result)
    moved, followed = (centred(np.where(known, curve, np.nan), cuts)[known] for curve in (source, result))
    if len(moved) < LEAST_FRAMES:
        return Agreement(np.nan, np.nan, np.nan, len(moved))
    amplitude = float(followed.std() / moved.std()) if moved.std() > _STILL else np.nan
    return Agreement(_correlation(moved, followed), amplitude, _lag(source, result, frame_rate, cuts), len(moved))


def centred(curve: Float64, cuts: Bool) -> Float64:
    """A curve [T] less the mean of each shot; NaN stays NaN."""
    result = np.full(len(curve), np.nan)
    for shot in shots(cuts):
        known = np.isfinite(curve[shot])
        if known.any():
            result[shot] = curve[shot] - curve[shot][known].mean()
    return result


def _correlation(a: Float64, b: Float64) -> float:
    if len(a) < LEAST_FRAMES or min(a.std(), b.std()) <= _STILL:
        return np.nan
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def _lag(source: Float64, result: Float64, frame_rate: Fraction, cuts: Bool) -> float:
    reach = min(round(MAX_LAG * float(frame_rate)), len(source) // 4)
    shot = np.cumsum(cuts)
    heights = []
    for shift in range(-reach, reach + 1):
        early = slice(max(0, -shift), max(0, len(source) - max(0, shift)))
        late = slice(max(0, shift), max(0, len(source) + min(0, shift)))
        a, b, same = source[early], result[late], shot[early] == shot[late]
        both = np.isfinite(a) & np.isfinite(b) & same
        heights.append(_correlation(a[both], b[both]))
    if not np.isfinite(heights).all():
        return np.nan
    best = int(np.argmax(heights))
    if best in (0, 2 * reach):  # still rising where the search ends
        return np.nan
    before, top, after = heights[best - 1 : best + 2]
    bend = before - 2 * top + after
    return best - reach + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def restlessness(pictures: Iterable[UInt8]) -> Float64:
    """[T] for T pictures [H, W, 3]: mean |y(t-1) - 2 y(t) + y(t+1)| of luminance y from 0 to 255; NaN at the ends.

    A steady movement of light or of a smooth surface hardly counts; what jumps there and back does.
    """
    last: list[Float64] = []
    found: list[float] = []
    for picture in pictures:
        last = [*last[-2:], picture.astype(np.float64) @ np.array(_LUMA)]
        found.append(np.nan)
        if len(last) == 3:
            found[-2] = float(np.abs(last[0] - 2 * last[1] + last[2]).mean())
    return np.array(found)


def jerk(landmarks: Float32, cuts: Bool) -> float:
    """How much landmarks [T, 68, 2] px, NaN where no face is seen, shake: eye spans per frame³.

    Root mean square of third differences over time, in units of the median distance between the outer corners of the
    eyes; brows, eyes, nose and mouth count, the outline of the jaw, which slides, does not. NaN where no four frames in
    a row show the face in one shot.
    """
    points = landmarks.astype(np.float64)
    known = np.isfinite(points).all((1, 2))
    if not known.any():
        return np.nan
    span = float(np.median(np.linalg.norm(points[known, 45] - points[known, 36], axis=-1)))
    third = [np.diff(points[shot, INNER:], 3, axis=0) for shot in shots(cuts)]
    squares = np.square(np.concatenate(third) / max(span, 1e-9)).sum(-1)
    return float(np.sqrt(squares[np.isfinite(squares)].mean())) if np.isfinite(squares).any() else np.nan


def undisturbed(detected: Bool, cuts: Bool) -> Bool:
    """[T] True where a frame and both its neighbours show the face, in one shot."""
    seen = np.pad(detected, 1)
    starts = np.append(cuts[1:], True)  # the frame after begins a shot
    result: Bool = seen[:-2] & detected & seen[2:] & ~cuts & ~starts
    return result
