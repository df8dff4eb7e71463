"""The light that a face is seen in, and crops without its changes."""

from __future__ import annotations

import numpy as np

from reanimate.types import Bool, Float64, UInt8, shots

FACE = ((0.35, 0.8), (0.3, 0.7))  # rows and columns of an aligned crop that are nearly all skin
STEADY = 0.05  # change of brightness within a shot that is left alone: shading of a head that moves
LEAST, MOST = 0.5, 2.0  # factors beyond which a picture would break rather than brighten


def brightness(face: UInt8) -> float:
    """The median of the skin in an aligned crop [R, R, 3], from 0 to 255; an opening mouth leaves it."""
    rows, columns = (slice(*(round(edge * len(face)) for edge in edges)) for edges in FACE)
    return float(np.median(face[rows, columns].mean(2)))


def even_light(seen: Float64, cuts: Bool) -> Float64:
    """[T] factors that bring the brightness [T] of each shot to its median; 1 in a steady shot, or where unknown."""
    gains = np.ones(len(seen))
    for shot in shots(cuts):
        known = np.flatnonzero(np.isfinite(seen[shot]) & (seen[shot] > 0)) + shot.start
        if not len(known):
            continue
        wanted = np.median(seen[known]) / seen[known]
        if np.abs(wanted - 1).max() > STEADY:
            gains[known] = np.clip(wanted, LEAST, MOST)
    return gains


def lit(picture: UInt8, gain: float) -> UInt8:
    """A picture [H, W, 3] made brighter or darker by a factor."""
    return picture if gain == 1 else np.clip(np.round(picture * gain), 0, 255).astype(np.uint8)
