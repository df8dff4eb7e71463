"""What moves and who is moved: codes into identity and pose, pose onto another identity. numpy and scipy only.

Source: Gabbay & Hoshen 2019, Eq. 9 (identity is the mean code, pose the difference from it) and Eq. 10 (pose is added
to the target's identity). Differs in how pose is normalised: by one RMS over the clip, which is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.ndimage import convolve1d

from reanimate.types import Bool, Float32, Identity, Latents, PoseDeltas, shots

SCALE_FLOOR = 1e-4  # W+ units; a clip that moves less is still, not blown up to unit RMS


def decompose(latents: Latents, model: str = "", cuts: Bool | None = None) -> tuple[Identity, PoseDeltas]:
    """Mean identity, and pose deltas with unit RMS over the clip.

    With `cuts` [T], pose is the difference from the mean of its own shot: another shot may show another person in
    another light, which is no movement. A shot in which nothing was inverted does not move.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(latents.ws) < 2:
        raise ValueError("a clip of fewer than two frames has no motion")
    known = np.isfinite(latents.loss)
    if not known.any():  # codes that no inversion made
        known[:] = True
    mean = latents.ws[known].mean(axis=0, dtype=np.float64)  # float32 would leave false motion in a still clip
    offsets = np.zeros(latents.ws.shape)
    for shot in shots(np.zeros(len(known), bool) if cuts is None else cuts):
        seen = latents.ws[shot][known[shot]]
        if len(seen):
            offsets[shot] = latents.ws[shot] - seen.mean(axis=0, dtype=np.float64)
    rms = float(np.sqrt(np.square(offsets).mean()))
    scale = rms if rms > SCALE_FLOOR else 1.0
    deltas = PoseDeltas((offsets / scale).astype(np.float32), scale, latents.frame_rate, model)
    return Identity(mean.astype(np.float32)), deltas


def interpolate_missing(values: Float32, known: Bool, cuts: Bool | None = None) -> Float32:
    """Values [T, ...] with the frames not `known` [T] drawn straight between their neighbours; ends are held.

    With `cuts` [T], neighbours are of the same shot; a shot without any known frame borrows from the whole clip.

    Raises:
        ValueError: no frame is known.
    """
    if not known.any():
        raise ValueError("no frame is known")
    result = _interpolate(values, known)
    for shot in shots(np.zeros(len(known), bool) if cuts is None else cuts):
        if known[shot].any():
            result[shot] = _interpolate(values[shot], known[shot])
    return result


def _interpolate(values: Float32, known: Bool) -> Float32:
    frames = np.arange(len(values))
    flat = values.reshape(len(values), -1).astype(np.float64)
    at = np.interp(frames, frames[known], np.arange(int(known.sum())))
    before, share = np.floor(at).astype(int), (at - np.floor(at))[:, None]
    rows = flat[known]
    after = np.minimum(before + 1, len(rows) - 1)
    filled = rows[before] * (1 - share) + rows[after] * share
    result: Float32 = filled.reshape(values.shape).astype(np.float32)
    result[known] = values[known]
    return result


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
    if frames % 2 == 0:
        raise ValueError(f"a centred window needs an odd number of frames, not {frames}")
    result = np.empty_like(values)
    for shot in shots(np.zeros(len(values), bool) if cuts is None else cuts):
        result[shot] = _average_shot(values[shot].astype(np.float64), frames)
    return result


def _average_shot(shot: np.ndarray[tuple[int, ...], np.dtype[np.float64]], frames: int) -> Float32:
    half = frames // 2
    smooth = (
        convolve1d(shot, np.full(frames, 1 / frames), axis=0, mode="nearest") if len(shot) >= frames else shot.copy()
    )
    for i in range(len(shot)):
        room = min(i, len(shot) - 1 - i)
        if room < half:
            smooth[i] = shot[i - room : i + room + 1].mean(0)
    return smooth.astype(np.float32)


def smooth(deltas: PoseDeltas, seconds: float, cuts: Bool | None = None) -> PoseDeltas:
    """The same performance, less its shaking: a moving average over `seconds` (see window_frames)."""
    frames = window_frames(seconds, deltas.frame_rate)
    averaged = moving_average(deltas.deltas, frames, cuts)
    return PoseDeltas(averaged, deltas.scale, deltas.frame_rate, deltas.model, deltas.normalisation)


def apply(
    identity: Identity,
    deltas: PoseDeltas,
    gain: float = 1.0,
    scale: float | None = None,
    layers: Sequence[int] | None = None,
) -> Float32:
    """Codes [T, L, D] of `identity` moving like `deltas`: identity + gain * scale * deltas.

    `scale` (W+ units) defaults to the clip's own; `layers` limits the motion to those of the L codes.

    Raises:
        ValueError: identity and deltas differ in L or D.
    """
    if identity.ws.shape != deltas.deltas.shape[1:]:
        raise ValueError(f"identity {identity.ws.shape} and deltas {deltas.deltas.shape[1:]} are of different models")
    moved = gain * (deltas.scale if scale is None else scale) * deltas.deltas.astype(np.float64)
    if layers is not None:
        still = np.setdiff1d(np.arange(identity.ws.shape[0]), np.asarray(layers, int))
        moved[:, still] = 0
    return (identity.ws + moved).astype(np.float32)
