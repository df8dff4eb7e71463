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

from reanimate.faces.relief import Relief

OPENED = (0.0, 0.02)  # gaps between lips: up to the first nothing is seen between them, from the second all
DARK, TONGUE = 0.25, 0.7  # of the lips' brightness
TEETH = 1.05  # of the skin's
_TEETH, _ROW = (0.03, 0.06), (0.6, 0.95)  # below the upper lip, and half mouths to the side, where teeth end
_SHOWN = (0.0, 0.03)  # gaps between which they come out of the dark
_TONGUE = (0.5, 1.0)  # of the way down
_PALE = 0.6  # of the skin's colour, that teeth do not have
_ROUND = 0.6  # power of the lower lip's arch that an open mouth has: less is rounder
_HALVED, _ROUNDS = 9, 4  # of looking for where a place below the lip, and one that goes along, came from
_RIM = 0.002  # below where the lower lip was, over which the mouth gets dark
_JAW = 2.5  # how much wider the lower lip's movement gets for each eye span below it
RISES, SAGS = -0.05, 0.1  # of the gap, that the upper lip and the corners of the mouth go down
_CHEEK, _ABOVE = 0.8, 0.15  # half mouths beside the corners and eye spans above the lips, over which that fades
_LEAST_CHIN, _NECK = 0.1, 0.7  # below the lip, and below the chin, over which less and less follows the jaw
UP = 0.8  # of how far they go outwards, that corners of a mouth go up
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
    """How far the corners of the mouth go outwards; they go up with it."""
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

    def turned(self, chosen: torch.Tensor) -> torch.Tensor:
        """[N] radians that heads are turned by in the photographs, about; see Act.yaw."""
        return _head(self.points[chosen]).yaw

    def places(self, grid: torch.Tensor, chosen: torch.Tensor, act: Act) -> tuple[torch.Tensor, torch.Tensor]:
        """Where places [N, H, W, 2] of acting faces are in their photographs, and how much [N, 3, H, W] there is of a
        mouth that these do not show: of the dark, of the tongue on it, and of the teeth on both.
        """
        points = self.points[chosen]
        grid = _head(points).source(grid.flatten(1, 2), act.yaw, act.pitch).view_as(grid)
        grid = _pull(grid, points, act.smile, act.brows)
        grid, inside = _open(_follow(grid, points, act.mouth), points, act.mouth, grid)
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
        apart, jaw = act.mouth * span - (lower - upper), torch.zeros_like(along)
        share = _jaw(along, below, (across[:, 8] - lower) / span)
        jaw[:, _WITH_JAW] = (apart[:, None] * share)[:, _WITH_JAW]
        by = jaw + _along_with(apart, along, (across + jaw) / span[:, None])
        result = result + by[..., None] * _down(axis)[:, None]
        for corners, above, under, _ in _EYES:
            middle, axis, half = frame = _frame(points, *corners)
            height = _arch(points, under, frame) - _arch(points, above, frame)
            along = _local(points[:, list(above)], middle, axis)[0] / half[:, None]
            by = (act.lids * height)[:, None] * (1 - along.square()).clamp_min(0)
            result[:, list(above)] += by[..., None] * _down(axis)[:, None]
        pulled = _pull(points[:, :, None], points, act.smile, act.brows)[:, :, 0]
        return _head(points).turned(result + points - pulled, act.yaw, act.pitch)

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


def _open(
    grid: torch.Tensor, points: torch.Tensor, wanted: torch.Tensor, head: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lips `wanted` apart: the lower one and the jaw move, the upper one stays. Teeth are the head's, where places of
    the grid are at `head`.
    """
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
    teeth = (_local(head, middle, axis)[1] - _each(upper)) / _each(span)
    teeth = (1 - _step(teeth, *_TEETH)) * (1 - _step(along.abs(), *_ROW))
    teeth = teeth * _each(_step(wanted, *_SHOWN))
    return _across(grid, axis, source - across), torch.stack([hidden, tongue * hidden, teeth * hidden], 1)


def _along_with(by: torch.Tensor, along: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """[N, ...] how far down places go with lips that part `by` [N], at half widths along them and eye spans below."""
    wide = along.abs()
    inner, outer = RISES + (SAGS - RISES) * wide.square(), SAGS * torch.exp(-((wide - 1) / _CHEEK).square() / 2)
    near = torch.exp(-(below / torch.where(below < 0, _ABOVE, _NECK)).square() / 2)
    return by.view(-1, *[1] * (along.dim() - 1)) * torch.where(wide < 1, inner, outer) * near


def _follow(grid: torch.Tensor, points: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """What goes along with lips that part: the upper one rises, corners and cheeks go down."""
    middle, axis, half = frame = _frame(points, 60, 64)
    span, (upper, lower) = _span(points), _lips(points, *frame)
    by = wanted * span - (lower - upper)
    along, across = _local(grid, middle, axis)
    along, source = along / _each(half), across
    for _ in range(_ROUNDS):
        source = across - _along_with(by, along, source / _each(span))
    return _across(grid, axis, source - across)


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
        48: (-axis - UP * down) * smile[:, None],
        54: (axis - UP * down) * smile[:, None],
        19: -down * brows[:, None],
        24: -down * brows[:, None],
    }
    for landmark, way in ways.items():
        near = (grid - points[:, landmark, None, None]).square().sum(-1) / _each(_SOFT * span).square()
        grid = grid - torch.exp(-near / 2)[..., None] * (way * span[:, None])[:, None, None]
    return grid


def _head(points: torch.Tensor) -> Relief:
    _, axis, _ = _frame(points, 36, 45)
    return Relief(points[:, 36:48].mean(1), axis, _span(points), points[:, 48:68].mean(1), points[:, 30])
