"""How far rehearsed poses are said to go."""

from __future__ import annotations

import numpy as np

from reanimate.inversion.rehearse import believed

YAW, MOUTH, EYES = 0, 2, 3
ATTRIBUTE = np.array([YAW, YAW, YAW, MOUTH, MOUTH, EYES])


def shown() -> np.ndarray:
    """At rest, turned by -20, 10 and 20 degrees, lips 0.1 and 0.3 apart, eyes shut."""
    poses = np.tile(np.array([0, 0, 0.02, 1, 0], np.float32), (7, 1))
    poses[1:4, YAW], poses[4:6, MOUTH], poses[6, EYES] = [-20, 10, 20], [0.1, 0.3], 0
    return poses


def test_poses_go_as_far_as_they_are_seen_to() -> None:
    seen = shown().astype(np.float64) + [5, 0, 0, 0, 0.6]  # landmarks have a middle of their own
    seen[1:4, YAW], seen[4:6, MOUTH] = [-11, 13, 23], [0.08, 0.32]
    found = believed(ATTRIBUTE, shown(), seen)
    np.testing.assert_allclose(found[:4, YAW], [0, -16, 8, 18], atol=1e-5)
    np.testing.assert_allclose(found[[0, 4, 5], MOUTH], [0.02, 0.08, 0.32], atol=1e-5)


def test_what_is_seen_is_believed_within_bounds_and_never_falls() -> None:
    seen = shown().astype(np.float64)
    seen[1:4, YAW], seen[4:6, MOUTH], seen[6, EYES] = [-90, np.nan, 2], [0.0, 0.0], 0.9
    found = believed(ATTRIBUTE, shown(), seen)
    np.testing.assert_allclose(found[:4, YAW], [0, -26, 10, 14], atol=1e-5)
    np.testing.assert_allclose(found[[0, 4, 5], MOUTH], [0.02, 0.07, 0.27], atol=1e-5)
    assert found[6, EYES] == 0, "landmarks hardly see lids"
    seen[:] = np.nan
    np.testing.assert_array_equal(believed(ATTRIBUTE, shown(), seen), shown())
    seen[1:4, YAW], seen[0, YAW] = [-20, 13, 5], 0
    found = believed(ATTRIBUTE, shown(), seen)
    assert found[2, YAW] == 13 and found[3, YAW] == 14
