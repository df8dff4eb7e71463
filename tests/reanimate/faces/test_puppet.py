from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import face_points
from torch.nn import functional

from reanimate.faces.expression import express
from reanimate.faces.puppet import DARK, RISES, SAGS, TEETH, TONGUE, UP, Act, Puppets
from reanimate.training.data import MARGIN

SIDE = 128
ROLLS = (0.0, 0.1, -0.2)
CHOSEN = torch.arange(len(ROLLS))
EAR, CHIN, BROW, BRIDGE, NOSE, CORNER, UPPER_LIP, LOWER_LIP = 0, 8, 19, 27, 30, 54, 62, 66
UPPER_LIDS, LOWER_LIDS = (37, 38), (40, 41)
EXACT = torch.tensor([[1 / MARGIN, 0, 0], [0, 1 / MARGIN, 0]])


def faces_with(lips: float) -> Puppets:
    """Faces at the angles of ROLLS, with the inner lips `lips` px apart, in pictures of SIDE * MARGIN px."""
    points = np.stack([face_points((64, 64), 80, roll) for roll in ROLLS])
    for face, roll in zip(points, ROLLS, strict=True):
        down = np.array([-np.sin(roll), np.cos(roll)])
        middle, height = (face[61:64] + face[67:64:-1]) / 2, np.array([0.5, 1.0, 0.5])[:, None]
        face[61:64], face[67:64:-1] = (middle + share * lips * height * down for share in (-0.5, 0.5))
    return Puppets(torch.from_numpy(((2 * points / SIDE - 1) / MARGIN).astype(np.float32)))


@pytest.fixture(scope="module")
def puppets() -> Puppets:
    return faces_with(lips=8.0)


@pytest.fixture
def act(puppets: Puppets) -> Callable[..., Act]:
    return lambda **changes: acting(puppets, **changes)


def acting(puppets: Puppets, **changes: float) -> Act:
    nothing = torch.zeros(len(ROLLS))
    rest = Act(puppets.gap(CHOSEN), *[nothing] * 5)
    return replace(rest, **{name: nothing + value for name, value in changes.items()})


def px(puppets: Puppets, landmark: int, right: float = 0.0, down: float = 0.0) -> torch.Tensor:
    """[N, 1, 1, 2] places beside a landmark by so many px, along the face's own axes."""
    turn = torch.tensor([[np.cos(r) * right - np.sin(r) * down, np.sin(r) * right + np.cos(r) * down] for r in ROLLS])
    return (puppets.points[:, landmark] + turn.float() * 2 / (SIDE * MARGIN))[:, None, None]


def shown(puppets: Puppets, act: Act, place: torch.Tensor) -> torch.Tensor:
    """[N, 2] px, along the faces' own axes, from a place to where what is seen there comes from."""
    source, _ = puppets.places(place, CHOSEN, act)
    x, y = ((source - place)[:, 0, 0] * SIDE * MARGIN / 2).unbind(1)
    roll = torch.tensor(ROLLS)
    return torch.stack([x * roll.cos() + y * roll.sin(), y * roll.cos() - x * roll.sin()], 1)


def span_px(puppets: Puppets) -> float:
    """Px of an eye span: all faces here are of one size."""
    return 8.0 / float(puppets.gap(CHOSEN)[0])


def test_faces_at_rest_are_their_photographs(puppets: Puppets, act: Callable[..., Act]) -> None:
    grid = functional.affine_grid(EXACT.expand(len(ROLLS), 2, 3), [len(ROLLS), 3, SIDE, SIDE], align_corners=False)
    places, hidden = puppets.places(grid, CHOSEN, act())
    assert torch.allclose(places, grid, atol=1e-5) and not hidden.any()


@pytest.mark.parametrize("change", [-0.1, 0.05, 0.2])
def test_lips_part_by_what_is_asked_and_take_chin_and_corners_along(
    puppets: Puppets, act: Callable[..., Act], change: float
) -> None:
    """The upper lip rises a little, corners go down some of the way, ears and nose stay."""
    opened, by = act(mouth=float(puppets.gap(CHOSEN)[0]) + change), change * span_px(puppets)
    for landmark, share in ((UPPER_LIP, RISES), (LOWER_LIP, 1 + RISES), (CHIN, 1 + RISES), (60, SAGS), (64, SAGS)):
        side = 1.0 if landmark in (LOWER_LIP, CHIN) else -1.0  # of the line between the lips
        back = shown(puppets, opened, px(puppets, landmark, down=share * by + 0.1 * side))
        assert torch.allclose(back, torch.tensor([0.0, -share * by]), atol=0.12 * abs(by) + 0.2)
    for landmark in (EAR, BRIDGE):
        assert torch.allclose(shown(puppets, opened, px(puppets, landmark)), torch.zeros(2), atol=0.2)


def test_closed_lips_touch(puppets: Puppets, act: Callable[..., Act]) -> None:
    """Below the edge of the upper lip comes at once what was below the lower one's."""
    edge = -8.0 * RISES
    above, below = (shown(puppets, act(mouth=0.0), px(puppets, UPPER_LIP, down=edge + by)) for by in (-0.3, 0.3))
    assert torch.allclose(below - above, torch.tensor([0.0, 8.0]), atol=0.5)


def test_what_opens_between_closed_lips_has_teeth_a_dark_and_a_tongue() -> None:
    puppets, grey = faces_with(0.0), torch.zeros(len(ROLLS), 3, SIDE, SIDE)
    wide, span = acting(puppets, mouth=0.3), span_px(faces_with(8.0))
    for down, expected in ((0.02, TEETH), (0.12, DARK), (0.29 + 0.3 * RISES, TONGUE)):
        drawn = puppets.sample(CHOSEN, wide, grey, px(puppets, UPPER_LIP, down=down * span))
        assert torch.allclose(drawn, torch.full_like(drawn, expected - 1), atol=0.06)


def test_a_mouth_that_was_seen_is_kept() -> None:
    puppets = faces_with(8.0)
    assert not puppets.places(px(puppets, UPPER_LIP, down=6.0), CHOSEN, acting(puppets, mouth=0.3))[1].any()


def test_nothing_folds_beside_wide_mouths() -> None:
    puppets = faces_with(0.0)
    wide, span = acting(puppets, mouth=0.45), span_px(faces_with(8.0))
    middle, corner = px(puppets, 51), px(puppets, 54)
    for share in (0.5, 0.8, 0.95, 1.1):
        way = [middle + share * (corner - middle) + px(puppets, 51, down=0.02 * i * span) - middle for i in range(40)]
        places, inside = puppets.places(torch.cat(way, 1), CHOSEN, wide)
        down = px(puppets, CHIN) - px(puppets, UPPER_LIP)
        came = (places * down).sum(-1)[:, :, 0]
        steps = torch.diff(came, dim=1)[~(inside[:, 0, 1:, 0] > 0) & ~(inside[:, 0, :-1, 0] > 0)]
        assert (steps > -1e-5).all()


def test_teeth_have_less_colour_than_the_skin_and_end_before_the_corners() -> None:
    puppets = faces_with(0.0)
    red = torch.tensor([0.6, -0.4, -0.4]).view(1, 3, 1, 1).expand(len(ROLLS), 3, SIDE, SIDE)
    wide, down = acting(puppets, mouth=0.3), 0.01 * span_px(faces_with(8.0))
    tooth = puppets.sample(CHOSEN, wide, red, px(puppets, UPPER_LIP, down=down))
    assert (tooth[:, 0] - tooth[:, 1] < 0.5).all() and (tooth[:, 0] > tooth[:, 1]).all()
    assert torch.allclose(tooth.mean((1, 2, 3)) + 1, TEETH * (red.mean((1, 2, 3)) + 1), atol=0.05)
    _, inside = puppets.places(
        px(puppets, 60, down=down) * 0.97 + 0.03 * px(puppets, UPPER_LIP, down=down), CHOSEN, wide
    )
    assert not inside[:, 2].any()


def test_closed_lids_cover_the_eyes(puppets: Puppets, act: Callable[..., Act]) -> None:
    for upper, lower in zip(UPPER_LIDS, reversed(LOWER_LIDS), strict=True):
        height = float((puppets.points[0, lower, 1] - puppets.points[0, upper, 1]) * SIDE * MARGIN / 2)
        at_seam = px(puppets, upper, down=height - 0.05)
        assert torch.allclose(shown(puppets, act(lids=1.0), at_seam), torch.tensor([0.0, -height]), atol=0.3)
        assert torch.allclose(shown(puppets, act(lids=0.5), at_seam), torch.zeros(2), atol=0.3)  # the eye stays
        in_lid = px(puppets, upper, down=height / 2 - 0.05)
        assert torch.allclose(shown(puppets, act(lids=0.5), in_lid), torch.tensor([0.0, -height / 2]), atol=0.3)


def test_eyes_opened_wider_show_the_same_eye_higher(puppets: Puppets, act: Callable[..., Act]) -> None:
    height = float((puppets.points[0, LOWER_LIDS[1], 1] - puppets.points[0, UPPER_LIDS[0], 1]) * SIDE * MARGIN / 2)
    back = shown(puppets, act(lids=-0.3), px(puppets, UPPER_LIDS[0], down=-0.3 * height))
    assert torch.allclose(back, torch.tensor([0.0, 0.3 * height]), atol=0.3)


@pytest.mark.parametrize(
    "name, landmark, way",
    [
        ("smile", CORNER, (1.0, -UP)),
        ("brows", BROW, (0.0, -1.0)),
        ("yaw", NOSE, (1.0, 0.0)),
        ("pitch", NOSE, (0, 1.0)),
    ],
)
def test_what_moves_comes_from_the_other_side(
    puppets: Puppets, act: Callable[..., Act], name: str, landmark: int, way: tuple[float, float]
) -> None:
    back = shown(puppets, act(**{name: 0.1}), px(puppets, landmark))
    length = back.norm(dim=1)
    assert (length > 0.5).all()
    expected = -torch.tensor(way) / torch.tensor(way).norm()
    assert torch.allclose(back / length[:, None], expected.expand_as(back), atol=0.12)
    assert torch.allclose(shown(puppets, act(**{name: -0.1}), px(puppets, landmark)), -back, atol=0.3)


def test_a_turning_head_keeps_the_middle_between_its_eyes_and_what_is_far(
    puppets: Puppets, act: Callable[..., Act]
) -> None:
    turned = act(yaw=0.3, pitch=-0.2)
    eyes = puppets.points[:, 36:48].mean(1)[:, None, None]
    assert torch.allclose(shown(puppets, turned, eyes), torch.zeros(2), atol=0.05)
    corner = torch.full((len(ROLLS), 1, 1, 2), -3.0)
    assert torch.allclose(shown(puppets, turned, corner), torch.zeros(2), atol=0.05)


@pytest.mark.parametrize("angle", [-0.5, -0.25, 0.25, 0.5])
@pytest.mark.parametrize("way, sign, within", [("yaw", 1.0, 0.2), ("pitch", -1.0, 0.6)])
def test_heads_are_seen_to_turn_as_far_as_is_asked(
    puppets: Puppets, act: Callable[..., Act], way: str, sign: float, within: float, angle: float
) -> None:
    """By the pose of a generic head that is fitted to landmarks of another shape, above all with a shorter nose."""
    seen = [
        getattr(express(puppets.landmarks(CHOSEN, acted).numpy() * SIDE), way) for acted in (act(), act(**{way: angle}))
    ]
    assert np.allclose(seen[1] - seen[0], sign * np.degrees(angle), rtol=within)


def test_what_is_turned_away_is_hidden_by_what_lies_before_it(puppets: Puppets, act: Callable[..., Act]) -> None:
    """The right edge of the face goes behind the cheek, the left one comes forth."""
    turned = act(yaw=0.6)
    moved = puppets.landmarks(CHOSEN, turned)
    hidden, seen = (
        (puppets.places(moved[:, ear, None, None], CHOSEN, turned)[0][:, 0, 0] - puppets.points[:, ear]).norm(dim=1)
        for ear in (16, EAR)
    )
    assert (hidden * SIDE * MARGIN / 2 > 0.1 * span_px(puppets)).all()
    assert (seen * SIDE * MARGIN / 2 < 0.02 * span_px(puppets)).all()


def test_the_angle_of_a_photographed_head_is_read(puppets: Puppets, act: Callable[..., Act]) -> None:
    assert puppets.turned(CHOSEN).abs().max() < 0.05
    turned = Puppets(puppets.landmarks(CHOSEN, act(yaw=0.3)))
    assert torch.allclose(turned.turned(CHOSEN), torch.full((len(ROLLS),), 0.3), atol=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"mouth": 0.25},
        {"mouth": 0.02},
        {"lids": 0.7},
        {"smile": 0.06},
        {"brows": 0.05},
        {"yaw": 0.2},
        {"yaw": -0.5},
        {"pitch": -0.2},
    ],
)
def test_landmarks_go_where_their_pixels_are_drawn(
    puppets: Puppets, act: Callable[..., Act], change: dict[str, float]
) -> None:
    """What is seen at a moved landmark is what was there before it moved, to a hundredth of an eye span."""
    acting = act(**change)
    moved = puppets.landmarks(CHOSEN, acting)
    assert float((moved - puppets.points).norm(dim=2).max()) * SIDE * MARGIN / 2 > 1.5  # px
    edges = {*range(60, 68), *(landmark for eye in (UPPER_LIDS, (43, 44)) for landmark in eye)}  # belong to two sides
    outside = [i for i in range(68) if i not in edges]
    back, _ = puppets.places(moved[:, outside, None], CHOSEN, acting)
    apart = (back[:, :, 0] - puppets.points[:, outside]).norm(dim=2) * SIDE * MARGIN / 2
    assert float(apart.mean()) < 0.01 * span_px(puppets) and float(apart.max()) < 0.05 * span_px(puppets)
