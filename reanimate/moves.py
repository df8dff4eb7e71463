"""What a face shows over time, and the codes of a face that rehearsed which show it.

A rehearsal is a few poses of one face (`inversion.rehearse`). Its codes are drawn along straight lines between them and
a little beyond, and every place on the way is named by what is seen there: what is asked for is then shown, also
where a generator draws a movement too weakly or unevenly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import median_filter
from scipy.optimize import isotonic_regression

from reanimate.motion import interpolate_missing
from reanimate.smoothing import gaussian
from reanimate.types import ATTRIBUTES, HEAD, Bool, Float32, Float64, Rehearsal, shots

OPEN = 0.8  # quantile of a shot's frames in which eyes are as open as they mostly are
LIDS = ((0.45, 0.85, 1.1, 1.4), (0.0, 1.0, 1.0, 1.3))
"""Shares of that opening, and how open an eye is then: landmarks never see the lids of a closed eye meet, and gaze and
nods change what they see of an open one."""
WIDE = 1.3  # far more than any gap between lips: beyond, landmarks err
UNSURE = np.array(
    [0.35, 0.35, 0.004, 0.005, 0.006]
)  # [A] twice what attributes of one still picture vary by when it is a clip
CENTRED = np.array([True, True, False, False, True])  # [A] what is measured from the middle of a shot
BETWEEN = 3  # places that are looked at for each pose
TOGETHER = 3  # order of the norm of turning and nodding: 2 bounds them by an ellipse, more leaves more of the corners
BEYOND = 1 / 3  # poses, that are gone past the last one: farther, faces dissolve
YAW, GAP, WIDTH = (ATTRIBUTES.index(name) for name in ("yaw", "mouth", "smile"))
NEARLY = {GAP: (0.08, 0.03), WIDTH: (0.04, 0.04)}  # eye spans, that landmarks may see less and more than there is
BELIEVED = (0.4, 1.25)  # of a movement: what is read of one place may be an error
MENDED = 0.7  # of what is missing, that is asked for more at first
FARTHEST = 0.4  # of how far an attribute's places reach, that is ever asked for more or less


def moves_of(attributes: Float32, cuts: Bool) -> Float32 | None:
    """What anybody is to show, see PoseDeltas.moves, of what landmarks showed [T, A]; None where they show nothing.

    Heads are measured from the middle of the shot, as codes are, and so are the widths of mouths, which a turned head
    shows narrower. Gaps between lips are not: they are the same on everybody, and who rests with closed lips cannot
    close them further. Eyes are measured by the person's own. What changes by no more than landmarks err, standing
    still, does not move.
    """
    known = np.asarray(np.isfinite(attributes).all(1))
    if not known.any():
        return None
    result = interpolate_missing(np.nan_to_num(attributes), known, cuts)
    result[:, 4] /= np.cos(np.radians(result[:, 0]))
    for shot in shots(cuts):
        seen = shot if not known[shot].any() else np.arange(shot.start, shot.stop)[known[shot]]
        still = result[seen].std(0) <= UNSURE
        result[shot, still] = result[seen].mean(0)[still]
        result[shot] -= np.where(CENTRED, result[seen].mean(0), 0)
        open_eyes = max(float(np.quantile(result[seen, 3], OPEN)), 1e-3)
        result[shot, 3] = np.interp(result[shot, 3] / open_eyes, *LIDS)
    result[:, 2] = np.clip(result[:, 2], 0, WIDE)
    return result


def rehearsed(rehearsal: Rehearsal, moves: Float64) -> Float64:
    """[T, L, D] offsets from an identity that shows `moves` [T, A]: straight between its poses, and no farther.

    What attributes do is added up; heads turn and nod no farther, together, than they did in one of both.
    """
    total = np.zeros((len(moves), *rehearsal.offsets.shape[1:]))
    low, high = _reach(rehearsal)
    away = np.clip(moves, low, high) - rehearsal.rest
    most = np.maximum(np.where(away > 0, high - rehearsal.rest, rehearsal.rest - low), 1e-9)
    away[:, HEAD] /= np.linalg.norm((away / most)[:, HEAD], TOGETHER, axis=1, keepdims=True).clip(1)
    for i in range(moves.shape[1]):
        at, poses = _in_order(rehearsal, i)
        place = np.interp(rehearsal.rest[i] + away[:, i], at, np.arange(len(at)))
        before, share = np.floor(place).astype(int), (place % 1)[:, None, None]
        after = np.minimum(before + 1, len(at) - 1)
        total += poses[before] * (1 - share) + poses[after] * share
    return total


def along(rehearsal: Rehearsal) -> Rehearsal:
    """The same with more places, evenly from pose to pose and on beyond the last ones."""
    parts = []
    for i in range(len(rehearsal.rest)):
        at, poses = _in_order(rehearsal, i)
        if len(at) < 2:
            continue
        steps = np.arange(round(-BEYOND * BETWEEN), round((len(at) - 1 + BEYOND) * BETWEEN) + 1) / BETWEEN
        before = np.clip(np.floor(steps).astype(int), 0, len(at) - 2)
        share = steps - before
        shown = at[before] * (1 - share) + at[before + 1] * share
        mixed = share[:, None, None]
        offsets = poses[before] * (1 - mixed) + poses[before + 1] * mixed
        moved = np.abs(shown - rehearsal.rest[i]) > 1e-6 * np.ptp(at)  # the place at rest is known
        parts.append((np.full(int(moved.sum()), i), shown[moved], offsets[moved]))
    attribute, shown, offsets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shown, offsets = shown.astype(np.float32), offsets.astype(np.float32)
    return replace(rehearsal, attribute=attribute, shown=shown, offsets=offsets)


def as_seen(rehearsal: Rehearsal, found: Float64) -> Rehearsal:
    """The same, named by what was seen: `found` [M, A] is how far each place that was drawn differs from the one at
    rest. Farther along is never less, whatever is read of one place.
    """
    shown = rehearsal.shown.astype(np.float64)
    for i in range(len(rehearsal.rest)):
        mine = np.flatnonzero(rehearsal.attribute == i)
        mine = mine[np.argsort(shown[mine], kind="stable")]
        if not len(mine):
            continue
        asked = shown[mine] - rehearsal.rest[i]
        share = np.clip(found[mine, i] / asked, *BELIEVED)
        share = median_filter(share, 3, mode="nearest")  # one place alone is not believed against both its neighbours
        at = np.searchsorted(asked, 0.0)
        way = isotonic_regression(np.insert(share * asked, at, 0.0)).x
        shown[mine] = rehearsal.rest[i] + np.delete(way - way[at], at)  # at rest nothing moves
    return replace(rehearsal, shown=shown.astype(np.float32))


def as_others_see(true: Float64, seen: Float64) -> Float64:
    """[T, A] what frames show, `true`, but for mouths, which are as open and as wide as landmarks say, `seen`, NaN
    where there is no face; if that is near. A gap of two px that is drawn softly is none.
    """
    said, result = seen.copy(), true.copy()
    said[:, WIDTH] /= np.cos(np.radians(said[:, YAW]))
    known = np.isfinite(said).all(1)
    if known.any():
        said[:, WIDTH] += (true[known, WIDTH] - said[known, WIDTH]).mean()
    for i, (less, more) in NEARLY.items():
        near = np.clip(said[:, i], true[:, i] - less, true[:, i] + more)
        result[:, i] = np.where(known, near, true[:, i])
    return result


def mended(
    rehearsal: Rehearsal, wanted: Float64, asked: Float64, found: Float64, window: int, before: int = 0
) -> Float64:
    """[T, A] what to ask for instead of `asked` so that `wanted` is seen, where `found` was; all [T, A].

    Movements that are rehearsed one at a time interfere when they are added: lips that open narrow a smile and seem to
    bend a head. What is missing is asked for in addition, of mouths averaged over a `window` of frames, since landmarks
    err from one to the next. Heads and widths are compared about their means.

    After as many rounds `before`, less is asked for, in the way of Robbins and Monro 1951: what is seen of lips that
    hardly part jumps, and whole steps would go to and fro.
    """
    missing = wanted - found
    missing -= np.where(CENTRED, missing.mean(0), 0)
    mouths = list(NEARLY)
    missing[:, mouths] = gaussian(missing[:, mouths].astype(np.float32), window)
    low, high = _reach(rehearsal)
    most = FARTHEST * (high - low)
    return np.asarray(np.clip(asked + MENDED / (1 + before) * missing, wanted - most, wanted + most))


def unexplained(deltas: Float32, moves: Float32, cuts: Bool) -> Float32:
    """Deltas [T, L, D] less what goes along with moves [T, A] or drifts with the time in a shot, by regression.

    Every frame's inversion begins where one beside it ended, so that codes come nearer to their frames from frame to
    frame, also where nothing moves: quickly first, then ever more slowly, as the logarithm of the time since the first
    one that was solved, which is that of the shot or the one in its middle (`inversion.segments`).
    """
    known = [moves.astype(np.float64)]
    for shot in shots(cuts):
        time = np.arange(shot.stop - shot.start, dtype=np.float64)
        apart = np.abs(time - time.mean())
        drift = np.zeros((len(deltas), 4))
        columns = np.stack([time, np.log1p(time), apart, np.log1p(apart)], 1)
        drift[shot] = columns - columns.mean(0)
        known.append(drift)
    about = np.concatenate(known, 1)
    about -= about.mean(0)
    result = np.empty_like(deltas)
    for layer in range(deltas.shape[1]):  # one by one: those of long clips in large models fill gigabytes
        values = deltas[:, layer].astype(np.float64)
        result[:, layer] = values - about @ np.linalg.lstsq(about, values, rcond=None)[0]
    return result


def _reach(rehearsal: Rehearsal) -> tuple[Float64, Float64]:
    """[A] and [A]: the least and the most of each attribute that any place shows, the one at rest among them."""
    low = rehearsal.rest.astype(np.float64)
    high = low.copy()
    np.minimum.at(low, rehearsal.attribute, rehearsal.shown)
    np.maximum.at(high, rehearsal.attribute, rehearsal.shown)
    return low, high


def _in_order(rehearsal: Rehearsal, attribute: int) -> tuple[Float64, Float64]:
    """How far an attribute's poses are, [K], the one at rest among them, and their offsets [K, L, D]."""
    mine = rehearsal.attribute == attribute
    at = np.append(rehearsal.shown[mine], rehearsal.rest[attribute]).astype(np.float64)
    poses = np.concatenate([rehearsal.offsets[mine], np.zeros_like(rehearsal.offsets[:1])]).astype(np.float64)
    order = np.argsort(at, kind="stable")
    return at[order], poses[order]
