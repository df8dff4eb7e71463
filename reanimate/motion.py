"""What moves and who is moved: codes into identity and pose, pose onto another identity. numpy only.

Source: Gabbay & Hoshen 2019, Eq. 9 (identity is the mean code, pose the difference from it) and Eq. 10 (pose is added
to the target's identity). Differs in how pose is normalised: by one RMS over the clip, which is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from reanimate.types import NATURAL, Bool, Float32, Float64, Identity, Latents, PoseDeltas, shots

Normalisation = Literal["clip", "frame"]

SCALE_FLOOR = 1e-4  # W+ units; a clip or frame that moves less is still, not blown up to unit RMS
GROUPS = (4, 8)  # where the middle and the fine codes begin: 16 px and 64 px in a style generator
NEAR = 0.5  # of NATURAL; frames so far apart in pose count as near each other


def decompose(
    latents: Latents, model: str = "", cuts: Bool | None = None, normalisation: Normalisation = "clip"
) -> tuple[Identity, PoseDeltas]:
    """Mean identity, and pose deltas with unit RMS over the clip, or in every frame.

    With `cuts` [T], pose is the difference from the mean of its own shot: another shot may show another person in
    another light, which is no movement. A shot in which nothing was inverted does not move.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(latents.ws) < 2:
        raise ValueError("a clip of fewer than two frames has no motion")
    known = _known(latents)
    mean = latents.ws[known].mean(axis=0, dtype=np.float64)  # float32 would leave false motion in a still clip
    offsets = np.zeros(latents.ws.shape)
    for shot in shots(np.zeros(len(known), bool) if cuts is None else cuts):
        seen = latents.ws[shot][known[shot]]
        if len(seen):
            offsets[shot] = latents.ws[shot] - seen.mean(axis=0, dtype=np.float64)
    rms = float(np.sqrt(np.square(offsets).mean()))
    scale = rms if rms > SCALE_FLOOR else 1.0
    size = np.full((len(offsets), 1, 1), scale)
    if normalisation == "frame":
        frames = np.sqrt(np.square(offsets).mean((1, 2), keepdims=True))
        size = np.where(frames > SCALE_FLOOR, frames, scale)
    unit = (offsets / size).astype(np.float32)
    deltas = PoseDeltas(unit, scale, latents.frame_rate, model, normalisation, cuts=cuts)
    return Identity(mean.astype(np.float32)), deltas


def canonical_frame(latents: Latents, attributes: Float32) -> int:
    """The frame that stands best for a clip with attributes [T, A]: near the mean code, eyes open, mouth closed.

    Of the half of the frames whose eyes are most open, those whose mouth is among the quarter that is most closed; of
    these the one nearest to the mean code. Of all frames where none is such.
    """
    known = _known(latents)
    mouth, eyes = attributes[:, 2], attributes[:, 3]
    allowed = known
    if (seen := known & np.isfinite(mouth) & np.isfinite(eyes)).any():
        calm = seen & (eyes >= np.median(eyes[seen])) & (mouth <= np.quantile(mouth[seen], 0.25))
        allowed = calm if calm.any() else seen
    away = latents.ws - latents.ws[known].mean(axis=0, dtype=np.float64)
    return int(np.argmin(np.where(allowed, np.square(away).sum((1, 2)), np.inf)))


def _known(latents: Latents) -> Bool:
    known: Bool = np.isfinite(latents.loss)
    return known if known.any() else np.ones(len(known), bool)  # codes that no inversion made


def reference(deltas: PoseDeltas, identity: Identity) -> Float64:
    """[T] how much each source frame counts as one whose pose is that of the identity's picture; their sum is 1.

    Subtracting their mean makes the motion relative to the target's own pose: where the source looks as the target
    does, the target stays what it is. Frames count by a Gaussian of their distance in units of NATURAL, at least NEAR
    wide, so that one odd frame does not decide. Zero where the pose of either is unknown.
    """
    nothing = np.zeros(len(deltas.deltas))
    if deltas.attributes is None or identity.attributes is None:
        return nothing
    away = np.square((deltas.attributes - identity.attributes) / NATURAL).sum(1)
    known = np.isfinite(away)
    if not known.any():
        return nothing
    away = np.where(known, away, np.inf)
    # relative to the nearest: a pose that the source never takes still has frames that come closest
    weights = np.exp(-(away - away.min()) / (2 * NEAR**2))
    found: Float64 = weights / weights.sum()
    return found


def layer_groups(num_ws: int) -> tuple[slice, slice, slice]:
    """The coarse, middle and fine codes of a style generator: 4 and 8 px, 16 and 32 px, 64 px and more."""
    first, second = (min(edge, num_ws) for edge in GROUPS)
    return slice(0, first), slice(first, second), slice(second, num_ws)


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


def apply(
    identity: Identity,
    deltas: PoseDeltas,
    gain: float = 1.0,
    scale: float | None = None,
    layers: Sequence[int] | None = None,
    group_gains: Sequence[float] = (1.0, 1.0, 1.0),
    away_from: Float64 | None = None,
    own: Float64 | None = None,
) -> Float32:
    """Codes [T, L, D] of `identity` moving like `deltas`: identity + gain * (scale * (deltas - away_from) + own).

    `scale` (W+ units) defaults to the clip's own; `layers` limits the motion to those of the L codes; `group_gains`
    multiply that of the coarse, middle and fine ones; `away_from` [L, D] and the identity's `own` movements [T, L, D]
    default to nothing, see `reference` and `rehearsed`.

    Raises:
        ValueError: identity and deltas differ in L or D.
    """
    if identity.ws.shape != deltas.deltas.shape[1:]:
        raise ValueError(f"identity {identity.ws.shape} and deltas {deltas.deltas.shape[1:]} are of different models")
    gains = np.full(len(identity.ws), gain, np.float64)
    for group, factor in zip(layer_groups(len(gains)), group_gains, strict=True):
        gains[group] *= factor
    if layers is not None:
        gains[np.setdiff1d(np.arange(len(gains)), np.asarray(layers, int))] = 0
    moved = deltas.deltas.astype(np.float64) - (0.0 if away_from is None else away_from)
    moved = moved * (deltas.scale if scale is None else scale) + (0.0 if own is None else own)
    return np.asarray(identity.ws + gains[:, None] * moved, np.float32)
