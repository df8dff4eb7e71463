"""Photographs made to perform: mouths and eyes opened and closed, heads turned a little, by warping.

A single photograph does not hold what a face looks like before and after a movement. A warp by landmarks does, roughly:
lips part along their own line and take the jaw along, lids slide over the eyes, and a head turns as a rounded block
with a nose would. What opens below what a photograph shows between the lips is painted: dark, with teeth and a tongue.

Everything is an inverse map, from where a pixel lies to where it is taken from, so that parts are chained by calling
one after the other and a picture is sampled once. Lengths are eye spans: the distance between the outer corners of the
eyes seen from the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

OPENED = (0.02, 0.08)  # gaps between lips: up to the first nothing is seen between them, from the second all
DARK, TONGUE = 0.25, 0.7  # of the lips' brightness
TEETH = 0.85  # of the skin's
_TEETH, _ROW = (0.07, 0.11), (0.6, 0.95)  # below the upper lip, and half mouths to the side, where teeth end
_SHOWN = (0.03, 0.15)  # gaps between which they come out of the dark
_TONGUE = (0.5, 1.0)  # of the way down
_PALE = 0.6  # of the skin's colour, that teeth do not have
_ROUND = 0.6  # power of the lower lip's arch that an open mouth has: less is rounder
_HALVED = 9  # times, the way that a place below the lip may have come
_RIM = 0.01  # below where the lower lip was, over which the mouth gets dark
_JAW = 2.5  # how much wider the lower lip's movement gets for each eye span below it
_LEAST_CHIN = 0.1  # below the lip
_NECK = 0.7  # below the chin, over which less and less follows the jaw
_HEAD = (1.05, 1.25)  # half width and half height of the head
_FLAT = 3  # power of the distance to the side, that depth falls with: eyes lie in front, cheeks bend away behind them
_DEPTH, _NOSE, _NOSE_WIDTH = 0.5, 0.36, 0.22
ROUNDS = 2  # of looking for where a place of a turned head came from
_AROUND = 1.8  # sizes of the head, beyond which nothing turns with it
_SOFT = 0.22  # width of what moves with a corner of the mouth or a brow
_THIN = 1e-3  # nothing is divided by less
_SIDE = 1.4  # eye spans from eyes to mouth, at least: turned heads have their eyes closer together
_WITH_JAW = (4, 5, 6, 7, 8, 9, 10, 11, 12, 55, 56, 57, 58, 59, 65, 66, 67)
_ON_LIPS = (50, 52, 56, 57, 58)
_ON_NOSE = (27, 28, 29, 30)
_EYES = (
    ((36, 39), (37, 38), (41, 40), (17, 18, 19, 20, 21)),
    ((42, 45), (43, 44), (47, 46), (22, 23, 24, 25, 26)),
)  # corners, upper lid, lower lid, brow


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """What faces do, each [N]."""

    mouth: torch.Tensor
    """Gap between the inner lips, from 0."""
    lids: torch.Tensor
    """How far the eyes close: 0 as in the photograph, 1 closed, less than 0 wider open."""
    smile: torch.Tensor
    """How far the corners of the mouth go outwards, and half as far up."""
    brows: torch.Tensor
    """How far the brows go up."""
    yaw: torch.Tensor
    """Radians; positive when the nose turns to the right of the photograph."""
    pitch: torch.Tensor
    """Radians; positive when the nose turns down."""


class Puppets:
    """Faces in upright pictures, and what can be moved in them."""

    def __init__(self, points: torch.Tensor) -> None:
        """`points` [M, 68, 2] are the landmarks, as places in [-1, 1] of square pictures."""
        self.points = points

    def gap(self, chosen: torch.Tensor) -> torch.Tensor:
        """[N] how far the lips are apart in the photographs."""
        points = self.points[chosen]
        upper, lower = _lips(points, *_frame(points, 60, 64))
        return (lower - upper) / _span(points)

    def places(self, grid: torch.Tensor, chosen: torch.Tensor, act: Act) -> tuple[torch.Tensor, torch.Tensor]:
        """Where places [N, H, W, 2] of acting faces are in their photographs, and how much [N, 3, H, W] there is of a
        mouth that these do not show: of the dark, of the tongue on it, and of the teeth on both.
        """
        points = self.points[chosen]
        grid = _turn(grid, points, act.yaw, act.pitch)
        grid = _pull(grid, points, act.smile, act.brows)
        grid, inside = _open(grid, points, act.mouth)
        for eye in _EYES:
            grid = _close(grid, points, act.lids, *eye)
        return grid, inside

    def landmarks(self, chosen: torch.Tensor, act: Act) -> torch.Tensor:
        """[N, 68, 2] where the landmarks of acting faces are, nearly: movements are those at the landmarks at rest."""
        points = self.points[chosen]
        span, result = _span(points), points.clone()
        middle, axis, half = frame = _frame(points, 60, 64)
        upper, lower = _lips(points, *frame)
        along, across = _local(points, middle, axis)
        along = along / half[:, None]
        below = (across - lower[:, None] * (1 - along.square()).clamp_min(0)).clamp_min(0) / span[:, None]
        by = (act.mouth * span - (lower - upper))[:, None] * _jaw(along, below, (across[:, 8] - lower) / span)
        moving = torch.zeros_like(by)
        moving[:, _WITH_JAW] = 1
        result = result + (by * moving)[..., None] * _down(axis)[:, None]
        for corners, above, under, _ in _EYES:
            middle, axis, half = frame = _frame(points, *corners)
            height = _arch(points, under, frame) - _arch(points, above, frame)
            along = _local(points[:, list(above)], middle, axis)[0] / half[:, None]
            by = (act.lids * height)[:, None] * (1 - along.square()).clamp_min(0)
            result[:, list(above)] += by[..., None] * _down(axis)[:, None]
        away = points[:, :, None] - _turn(
            _pull(points[:, :, None], points, act.smile, act.brows), points, act.yaw, act.pitch, rounds=1
        )
        return result + away[:, :, 0]

    def sample(self, chosen: torch.Tensor, act: Act, pictures: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Acting faces [N, 3, H, W] from pictures [N, 3, S, S] at places [N, H, W, 2] in [-1, 1]."""
        places, inside = self.places(grid, chosen, act)
        moved = sampled_at(pictures, places)
        lips, skin = (self._colour(chosen, pictures, which) for which in (_ON_LIPS, _ON_NOSE))
        teeth = TEETH * (skin + _PALE * (skin.mean(1, keepdim=True) - skin))
        for share, colour in zip(torch.split(inside, 1, 1), (DARK * lips, TONGUE * lips, teeth), strict=True):
            moved = moved + share * (colour - 1 - moved)
        return moved

    def _colour(self, chosen: torch.Tensor, pictures: torch.Tensor, which: tuple[int, ...]) -> torch.Tensor:
        """[N, 3, 1, 1] from 0 to 2, the mean at some landmarks."""
        return sampled_at(pictures, self.points[chosen][:, which, None]).mean((2, 3), keepdim=True) + 1


def sampled_at(pictures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 3, S, S] at places [N, H, W, 2] in [-1, 1], mirrored beyond their edges."""
    return functional.grid_sample(pictures, places, mode="bilinear", padding_mode="reflection", align_corners=False)


def _span(points: torch.Tensor) -> torch.Tensor:
    """[N] eye span."""
    eyes, mouth = points[:, 36:48].mean(1), points[:, 48:68].mean(1)
    return torch.maximum((points[:, 45] - points[:, 36]).norm(dim=-1), _SIDE * (mouth - eyes).norm(dim=-1))


def _frame(points: torch.Tensor, left: int, right: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Middle [N, 2] between two landmarks, unit vector [N, 2] from one to the other, and half their distance [N]."""
    way = points[:, right] - points[:, left]
    length = way.norm(dim=-1).clamp_min(1e-4)
    return (points[:, left] + points[:, right]) / 2, way / length[:, None], length / 2


def _local(places: torch.Tensor, middle: torch.Tensor, axis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances along the axis and, downwards, across it, of places [N, ..., 2]."""
    shape = (len(places), *[1] * (places.dim() - 2), 2)
    away, axis = places - middle.view(shape), axis.view(shape)
    return (away * axis).sum(-1), away[..., 1] * axis[..., 0] - away[..., 0] * axis[..., 1]


def _across(places: torch.Tensor, axis: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Places [N, H, W, 2] moved by [N, H, W] across an axis."""
    return places + by[..., None] * _down(axis)[:, None, None]


def _down(axis: torch.Tensor) -> torch.Tensor:
    """[N, 2] across an axis, downwards."""
    return torch.stack([-axis[:, 1], axis[:, 0]], -1)


def _jaw(along: torch.Tensor, below: torch.Tensor, chin: torch.Tensor) -> torch.Tensor:
    """[N, ...] how much of the lower lip's movement is shared by what lies along it, in half widths, and below it.

    Wider and wider below the lip, all of it to the chin, and less and less of it further down.
    """
    chin = chin.clamp_min(_LEAST_CHIN).view(-1, *[1] * (below.dim() - 1))
    return (1 - (along / (1 + _JAW * below)).square()).clamp_min(0).pow(_ROUND) * (1 - _step(below - chin, 0.0, _NECK))


def _each(values: torch.Tensor) -> torch.Tensor:
    """[N] for pictures."""
    return values[:, None, None]


def _step(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """From 0 below `low` to 1 above `high`, smoothly."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _arch(points: torch.Tensor, which: tuple[int, ...], frame: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """[N] height in the middle of the parabola through a frame's ends that landmarks lie on."""
    middle, axis, half = frame
    along, across = _local(points[:, list(which)], middle, axis)
    arch = (1 - (along / half[:, None]).square()).clamp_min(0.2)
    return across.sum(1) / arch.sum(1)


def _lips(points: torch.Tensor, *frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[N] where the inner edges of the lips are in their middle; the lower one is not above the upper one."""
    upper, lower = _arch(points, (61, 62, 63), frame), _arch(points, (65, 66, 67), frame)
    return torch.minimum(upper, lower), torch.maximum(upper, lower)


def _open(grid: torch.Tensor, points: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lips `wanted` apart: the lower one and the jaw move, the upper one stays."""
    frame = _frame(points, 60, 64)
    middle, axis, half = frame
    span = _span(points)
    upper, lower = _lips(points, *frame)
    gap = (lower - upper) / span
    by = _each((wanted - gap) * span)
    along, across = _local(grid, middle, axis)
    along = along / _each(half)
    arch = (1 - along.square()).clamp_min(0)
    top, bottom = _each(upper) * arch, _each(lower) * arch
    moved = bottom + by * arch.pow(_ROUND)
    chin = (_local(points[:, 8:9], middle, axis)[1][:, 0] - lower) / span
    # the lip takes along what was below it; where that was is between here and as far up as the lip has moved
    nearer, farther = across, across - by
    for _ in range(_HALVED):
        place = (nearer + farther) / 2
        came = place + by * _jaw(along, (place - bottom).clamp_min(0) / _each(span), chin)
        beyond = (came - across) * by > 0
        nearer, farther = torch.where(beyond, place, nearer), torch.where(beyond, farther, place)
    between = (across > top) & (across < moved)
    lip = torch.where(across >= moved, (nearer + farther) / 2, across)
    source = torch.where((along.abs() >= 1) & (across < 0), across, lip)
    # upper teeth stay with the head: what is between the lips stays, and ends where the lower lip was
    before, after = _step(gap, *OPENED), _step(wanted, *OPENED)
    dark = _step((across - bottom) / _each(span), 0.0, _RIM) * _each(after)
    hidden = between * torch.maximum(dark, _each((1 - before) * (after - before)))
    tongue = _step((across - top) / (moved - top).clamp_min(_THIN), *_TONGUE)
    teeth = (1 - _step((across - top) / _each(span), *_TEETH)) * (1 - _step(along.abs(), *_ROW))
    teeth = teeth * _each(_step(wanted, *_SHOWN))
    return _across(grid, axis, source - across), torch.stack([hidden, tongue * hidden, teeth * hidden], 1)


def _close(
    grid: torch.Tensor, points: torch.Tensor, share: torch.Tensor, corners: tuple[int, int], *edges: tuple[int, ...]
) -> torch.Tensor:
    """The upper lid slides over the eye, or lifts from it; `edges` are landmarks of upper lid, lower lid and brow."""
    frame = _frame(points, *corners)
    middle, axis, half = frame
    upper, lower = _arch(points, edges[0], frame), _arch(points, edges[1], frame)
    along, across = _local(grid, middle, axis)
    arch = (1 - (along / _each(half)).square()).clamp_min(0)
    top, bottom = _each(upper) * arch, _each(lower) * arch
    moved = top + _each(share) * (bottom - top)
    brow = _each(_local(points[:, list(edges[2])], middle, axis)[1].mean(1))
    fold = torch.minimum(brow, torch.minimum(top, moved) - _THIN)
    lid = fold + (across - fold) * (top - fold) / (moved - fold)  # skin between brow and eye stretches
    wider = bottom + (across - bottom) * (bottom - top) / (bottom - moved).clamp_min(_THIN)
    eye = torch.where((_each(share) < 0) & (across < bottom), wider, across)
    source = torch.where(across <= fold, across, torch.where(across < moved, lid, eye))
    return _across(grid, axis, (source - across) * (arch > 0))


def _pull(grid: torch.Tensor, points: torch.Tensor, smile: torch.Tensor, brows: torch.Tensor) -> torch.Tensor:
    """Corners of the mouth outwards and up, brows up."""
    span = _span(points)
    _, axis, _ = _frame(points, 36, 45)
    down = _down(axis)
    ways = {
        48: (-axis - 0.5 * down) * smile[:, None],
        54: (axis - 0.5 * down) * smile[:, None],
        19: -down * brows[:, None],
        24: -down * brows[:, None],
    }
    for landmark, way in ways.items():
        near = (grid - points[:, landmark, None, None]).square().sum(-1) / _each(_SOFT * span).square()
        grid = grid - torch.exp(-near / 2)[..., None] * (way * span[:, None])[:, None, None]
    return grid


def _turn(
    grid: torch.Tensor, points: torch.Tensor, yaw: torch.Tensor, pitch: torch.Tensor, rounds: int = ROUNDS
) -> torch.Tensor:
    """The head turned about the middle between its eyes, which alignment holds."""
    span = _span(points)
    _, axis, _ = _frame(points, 36, 45)
    eyes = points[:, 36:48].mean(1)
    middle = (eyes + points[:, 48:68].mean(1)) / 2

    def depth(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (distance / span.view(-1, *[1] * (distance.dim() - 1)) for distance in _local(places, middle, axis))
        out = (x / _HEAD[0]).abs().pow(_FLAT) + (y / _HEAD[1]).square()
        at = points[:, 30].view(len(points), *[1] * (places.dim() - 2), 2)
        size = (span * _NOSE_WIDTH).view(-1, *[1] * (places.dim() - 2))
        nose = torch.exp(-(places - at).square().sum(-1) / size.square() / 2)
        return _DEPTH * (1 - out).clamp_min(0) + _NOSE * nose, out.sqrt()

    there, _ = depth(eyes[:, None])
    source = grid
    for _ in range(rounds):  # how far a place has moved is known where it came from, not where it is
        here, out = depth(source)
        by = (here - _each(there[:, 0])) * _each(span) * (1 - _step(out, 1.0, _AROUND))
        along, across = by * _each(torch.sin(yaw)), by * _each(torch.sin(pitch))
        source = _across(grid - along[..., None] * axis[:, None, None], axis, -across)
    return source
