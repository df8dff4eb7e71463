"""A performance less its shaking: filters over time. numpy and scipy only.

Every filter but one-euro is centred, so that nothing is delayed; all leave the first and last frame of a shot what
they are, and none reaches over a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.ndimage import convolve1d

from reanimate.motion import layer_groups
from reanimate.types import HEAD, Bool, Float32, Float64, PoseDeltas, shots

Filter = Literal["moving-average", "gaussian", "savitzky-golay", "one-euro"]
SLOWER = 4  # heads are heavier than lips, and landmarks say less surely where they point
POLYNOMIAL = 2  # order of savitzky-golay: peaks keep their height
ONE_EURO_BETA = 0.3  # Hz of cutoff per unit of speed, deltas a second
ONE_EURO_SPEED_CUTOFF = 1.0  # Hz, of the speed's own filter


def window_frames(seconds: float, frame_rate: Fraction) -> int:
    """An odd number of frames, at least 3, nearest to `seconds`; 1, which changes nothing, for zero seconds."""
    if seconds <= 0:
        return 1
    return max(3, 2 * round((seconds * float(frame_rate) - 1) / 2) + 1)


def moving_average(values: Float32, frames: int, cuts: Bool | None = None) -> Float32:
    """Values [T, ...] averaged over a centred window of an odd number of frames.

    Towards an end the window narrows evenly on both sides: nothing is delayed, the first and last frames stay what
    they are, and a steady movement stays steady. With `cuts` [T], no window reaches over the start of a shot.

    Raises:
        ValueError: an even window.
    """
    return _centred(values, frames, cuts, lambda size: np.full(size, 1 / size))


def gaussian(values: Float32, frames: int, cuts: Bool | None = None) -> Float32:
    """As moving_average, but frames count less the farther away: a bell of a quarter of the window's width."""

    def weights(size: int) -> Float64:
        kernel: Float64 = np.exp(-np.square((np.arange(size) - size // 2) / (size / 4)) / 2)
        return np.asarray(kernel / kernel.sum())

    return _centred(values, frames, cuts, weights)


def _centred(values: Float32, frames: int, cuts: Bool | None, weights: Callable[[int], Float64]) -> Float32:
    if frames % 2 == 0:
        raise ValueError(f"a centred window needs an odd number of frames, not {frames}")
    result = np.empty_like(values)
    for shot in _shots(values, cuts):
        rows = values[shot].astype(np.float64)
        smooth = convolve1d(rows, weights(frames), axis=0, mode="nearest") if len(rows) >= frames else rows.copy()
        for i in range(len(rows)):
            room = min(i, len(rows) - 1 - i)
            if room < frames // 2:
                smooth[i] = np.tensordot(weights(2 * room + 1), rows[i - room : i + room + 1], 1)
        result[shot] = smooth
    return result


def savitzky_golay(values: Float32, frames: int, cuts: Bool | None = None) -> Float32:
    """Values [T, ...] by a parabola fitted to a centred window of an odd number of frames; ends are kept.

    In a shot shorter than the window, the window is the largest that fits.

    Source: Savitzky & Golay 1964, as scipy has it.

    Raises:
        ValueError: an even window.
    """
    from scipy.signal import savgol_filter  # takes most of a second

    if frames % 2 == 0:
        raise ValueError(f"a centred window needs an odd number of frames, not {frames}")
    result = values.copy()
    for shot in _shots(values, cuts):
        rows = values[shot].astype(np.float64)
        size = min(frames, len(rows) - 1 + len(rows) % 2)
        if size > POLYNOMIAL:
            result[shot] = savgol_filter(rows, size, POLYNOMIAL, axis=0)
            result[shot.start], result[shot.stop - 1] = values[shot.start], values[shot.stop - 1]
    return result


def one_euro(values: Float32, seconds: float, frame_rate: Fraction, cuts: Bool | None = None) -> Float32:
    """Values [T, ...] from the frames up to each one: strongly filtered at rest, hardly while moving. It is late.

    At rest the filter's time constant is half of `seconds`; its cutoff rises with the speed, one for all numbers of a
    frame, so that they stay together. The first frame of a shot is kept, and nothing is known of the shot before.

    Source: Casiez et al. 2012, "1 Euro Filter". Differs in the shared speed.
    """
    if seconds <= 0:
        return values.copy()
    rate = float(frame_rate)
    result = values.copy()
    for shot in _shots(values, cuts):
        rows = values[shot].astype(np.float64)
        now, speed = rows[0], np.zeros_like(rows[0])
        for t in range(1, len(rows)):
            speed += _share(ONE_EURO_SPEED_CUTOFF, rate) * ((rows[t] - rows[t - 1]) * rate - speed)
            cutoff = 1 / (np.pi * seconds) + ONE_EURO_BETA * float(np.sqrt(np.square(speed).mean()))
            now = now + _share(cutoff, rate) * (rows[t] - now)
            result[shot.start + t] = now
    return result


def _share(cutoff: float, rate: float) -> float:
    """How much of the new value a filter of first order takes at a cutoff, Hz."""
    return 1 / (1 + rate / (2 * np.pi * cutoff))


def _shots(values: Float32, cuts: Bool | None) -> list[slice]:
    return shots(np.zeros(len(values), bool) if cuts is None else cuts)


def smooth(
    deltas: PoseDeltas,
    seconds: float,
    method: Filter = "moving-average",
    group_seconds: Sequence[float] | None = None,
) -> PoseDeltas:
    """The same performance, less its shaking: filtered over `seconds` (see window_frames), and over none of its cuts.

    With `group_seconds`, the coarse, middle and fine codes have windows of their own (see motion.layer_groups). Of what
    landmarks showed, yaw and pitch have a window SLOWER times as wide.
    """
    result = deltas.deltas.copy()
    groups = layer_groups(result.shape[1])
    for group, width in zip(groups, (seconds,) * 3 if group_seconds is None else group_seconds, strict=True):
        values = deltas.deltas[:, group]
        if width > 0 and values.size:
            result[:, group] = filtered(values, width, deltas.frame_rate, deltas.cuts, method)
    moves = deltas.moves
    if moves is not None and seconds > 0:
        head = filtered(moves[:, HEAD], SLOWER * seconds, deltas.frame_rate, deltas.cuts, method)
        moves = filtered(moves, seconds, deltas.frame_rate, deltas.cuts, method)
        moves[:, HEAD] = head
    return replace(deltas, deltas=result, moves=moves)


def filtered(
    values: Float32, seconds: float, frame_rate: Fraction, cuts: Bool | None = None, method: Filter = "moving-average"
) -> Float32:
    """Values [T, ...] by one of the filters."""
    if method == "one-euro":
        return one_euro(values, seconds, frame_rate, cuts)
    centred = {"moving-average": moving_average, "gaussian": gaussian, "savitzky-golay": savitzky_golay}[method]
    return centred(values, window_frames(seconds, frame_rate), cuts)
