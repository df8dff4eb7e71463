"""What is shown is read from pictures like those that taught it."""

from __future__ import annotations

import numpy as np
import pytest

from reanimate.reading import learn, read
from reanimate.types import Float32, UInt8


def pictures(shown: Float32, side: int) -> UInt8:
    """Two bars on grey, which move to the right and widen by [N, 2], from 0 to 1."""
    across = (np.arange(side) + 0.5) / side
    made = np.full((len(shown), side, side, 3), 128.0)
    for picture, (moved, wider) in zip(made, shown, strict=True):
        for rows, middle, half in ((slice(side // 3, side // 2), 0.3 + 0.3 * moved, 0.1), (
            slice(side // 2, 2 * side // 3), 0.5, 0.05 + 0.15 * wider
        )):  # fmt: skip
            picture[rows] += 100 * np.clip((half - np.abs(across - middle)) * side / 4 + 0.5, 0, 1)[None, :, None]
    return made.round().astype(np.uint8)


@pytest.mark.parametrize("side", [32, 128])
def test_movements_are_told_apart_in_pictures_that_were_never_seen(side: int) -> None:
    rng = np.random.default_rng(0)
    known, new = (rng.uniform(size=(count, 2)).astype(np.float32) for count in (120, 40))
    reader = learn(pictures(known, side), known)
    assert reader.dtype == np.float32 and reader.shape[0] == 2
    np.testing.assert_allclose(read(reader, pictures(new, side)), new, atol=0.15)
    alone = np.stack([np.linspace(0.2, 0.8, 20), np.full(20, 0.5)], 1).astype(np.float32)
    found = read(reader, pictures(alone, side))
    assert np.corrcoef(found[:, 0], alone[:, 0])[0, 1] > 0.99 and np.ptp(found[:, 1]) < 0.15


def test_pictures_that_are_all_alike_show_what_they_mostly_do() -> None:
    same = np.full((4, 32, 32, 3), 7, np.uint8)
    shown = np.array([[1, 2], [3, 4], [1, 2], [3, 4]], np.float32)
    np.testing.assert_allclose(read(learn(same, shown), same), np.tile([2, 3], (4, 1)), atol=1e-4)


def test_what_lies_at_the_edges_does_not_count() -> None:
    known = np.random.default_rng(0).uniform(size=(50, 2)).astype(np.float32)
    taught = pictures(known, 64)
    reader, framed = learn(taught, known), taught.copy()
    framed[:, :8] = framed[:, -8:] = 255
    np.testing.assert_array_equal(read(reader, framed), read(reader, taught))
