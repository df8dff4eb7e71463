"""What a face shows in pictures that are drawn of it, read by a map that its own photograph taught, made to perform.

Landmarks are found by what faces look like on average: of a moustache, a painting or a turned head they say half, or
nothing. What one face looks like in all its poses is known (`faces.puppet`), and a ridge regression from a few px tells
head pose, lips, lids and width of the mouth apart.
"""

from __future__ import annotations

import numpy as np

from reanimate.images import resize
from reanimate.types import Float32, Float64, UInt8

SIDE, EDGE = 32, 4  # px that pictures are reduced to, and how many are left out at each edge: hair and background
SIZE = 1 + 3 * (SIDE - 2 * EDGE) ** 2  # of a reader, for each attribute
RIDGE = 0.01  # of the mean square of what is left


def learn(pictures: UInt8, shown: Float32) -> Float32:
    """[A, SIZE] a reader of pictures like [M, R, R, 3], which show [M, A]: what is always there, and each px's share.

    Errors are those of numpy: there must be two pictures at least.
    """
    about, values = _values(pictures), shown.astype(np.float64)
    middle, rest = about.mean(0), values.mean(0)
    about, values = about - middle, values - rest
    likeness = about @ about.T
    ridge = RIDGE * np.trace(likeness) / len(likeness) + 1e-9
    shares = np.linalg.solve(likeness + ridge * np.eye(len(likeness)), values).T @ about
    return np.concatenate([(rest - shares @ middle)[:, None], shares], 1).astype(np.float32)


def read(reader: Float32, pictures: UInt8) -> Float64:
    """[N, A] what pictures [N, R, R, 3] show."""
    shares = reader.astype(np.float64)
    return np.asarray(shares[:, 0] + _values(pictures) @ shares[:, 1:].T)


def _values(pictures: UInt8) -> Float64:
    """[N, P] of the middle of pictures, from 0 to 1."""
    small = [resize(picture, SIDE, SIDE) for picture in pictures]
    return np.stack(small)[:, EDGE:-EDGE, EDGE:-EDGE].reshape(len(pictures), -1) / 255.0
