"""Poses among a model's codes: found where planted; shrinking and limiting do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from reanimate.subspace import KNEE, Subspace, measure, shrink, soft_limit
from reanimate.types import NATURAL

WIDTH = 24


def planted(count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, attributes, colours, and the directions [5, D] along which the attributes move the codes."""
    rng = np.random.default_rng(0)
    true = np.linalg.qr(rng.normal(size=(WIDTH, 8)))[0].T
    attributes = rng.normal(size=(count, 5)) * NATURAL
    colours = rng.normal(size=(count, 3)) + attributes[:, :1] / 8  # who looks to the right is in the light
    codes = (attributes / NATURAL) @ true[:5] * 2 + colours @ true[5:] + 0.5 * rng.normal(size=(count, WIDTH))
    return codes, attributes, colours, true[:5] * 2 / NATURAL[:, None]


@pytest.fixture
def space() -> Subspace:
    return measure(*planted()[:3])


def test_directions_are_found_and_hold_no_colour(space: Subspace) -> None:
    np.testing.assert_allclose(space.directions * NATURAL[:, None], planted()[3] * NATURAL[:, None], atol=0.1)


def test_pictures_without_a_face_do_not_count_but_some_are_needed() -> None:
    codes, attributes, colours, _ = planted()
    codes[:100], attributes[:100] = 99, np.nan
    codes[:100] = 0
    found = measure(codes, attributes, colours)
    np.testing.assert_allclose(found.directions, planted()[3], atol=0.2 / NATURAL.min())
    with pytest.raises(ValueError, match="too few"):
        measure(codes[:110], attributes[:110], colours[:110])


def test_shrinking_keeps_pose_and_drops_what_is_none(space: Subspace) -> None:
    pose = space.directions[0] * NATURAL[0]
    other = np.linalg.svd(space.directions)[2][-1]
    for direction, low, high in ((pose, 0.8, 1.05), (other, -1e-9, 0.1)):
        left = shrink(direction[None, None], space, 1.0)[0, 0] @ direction / (direction @ direction)
        assert low <= left <= high
    offsets = np.random.default_rng(1).normal(size=(5, 6, WIDTH))
    np.testing.assert_array_equal(shrink(offsets, space, 0.0), offsets)
    half = (offsets + shrink(offsets, space, 1.0)) / 2
    np.testing.assert_allclose(shrink(offsets, space, 0.5), half)


def test_limit_leaves_small_movements_bounds_large_ones_and_keeps_directions(space: Subspace) -> None:
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(space.covariance)
    draws = rng.normal(size=(200, 2, WIDTH)) @ root.T
    for size in (0.3 * KNEE, 1.0, 50.0):
        limited = soft_limit(size * draws, space)
        ratio = limited / (size * draws)
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[..., :1], ratio.shape), rtol=1e-6)
        assert (ratio > 0).all() and (ratio <= 1 + 1e-9).all()
        if size < KNEE:
            np.testing.assert_allclose(ratio, 1)
        if size > 2:
            longest = np.abs(soft_limit(1e6 * draws, space))
            np.testing.assert_allclose(np.abs(limited), longest, rtol=0.05)
