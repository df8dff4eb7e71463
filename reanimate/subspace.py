"""Where poses lie among the codes of a model, and what follows from it for a performance. numpy only.

A = len(types.ATTRIBUTES). Directions [A, D] say how a code changes with a unit of each attribute; covariance [D, D] is
that of W. Both are measured on pictures that the model makes, so that what moves along a direction moves by as much as
it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reanimate.types import NATURAL, Float64

NUISANCE = 0.1  # of W's covariance: how much of what tells people apart strays into the codes of one clip
RIDGE = 0.01  # of W's mean variance, added before anything is inverted
KNEE = 0.5  # of the bound: shorter movements are left as they are


@dataclass(frozen=True, slots=True, eq=False)
class Subspace:
    """What is known of a model's codes."""

    directions: Float64
    """[A, D] change of a code with a unit of each attribute."""
    covariance: Float64
    """[D, D] of W."""
    bound: float
    """99th percentile of the whitened distance of W's codes from their mean."""


def measure(codes: Float64, attributes: Float64, colours: Float64) -> Subspace:
    """Of codes [N, D], what their pictures show [N, A], NaN where no face is seen, and their mean colours [N, 3].

    Colour takes part in the regression, so that moving along a direction leaves it.

    Raises:
        ValueError: too few pictures with a face to tell.
    """
    known = np.isfinite(attributes).all(1)
    if known.sum() < 4 * attributes.shape[1]:
        raise ValueError(f"{int(known.sum())} faces are too few")
    covariance = np.cov(codes.T)
    shown = np.column_stack([attributes, colours])[known]
    fitted = np.linalg.lstsq(shown - shown.mean(0), codes[known] - codes[known].mean(0), rcond=None)[0]
    radii = _radii(codes - codes.mean(0), _whitening(covariance))
    return Subspace(fitted[: attributes.shape[1]], covariance, float(np.quantile(radii, 0.99)))


def shrink(offsets: Float64, space: Subspace, share: float) -> Float64:
    """Offsets [T, L, D] drawn towards the directions in which poses lie; 0 leaves them, 1 keeps what is likely pose.

    A Wiener filter, Σ_pose (Σ_pose + Σ_nuisance + λI)⁻¹, in which Σ_pose are the directions at natural spreads.
    """
    steps = space.directions * NATURAL[:, None]
    pose = steps.T @ steps
    noise = NUISANCE * space.covariance + _ridge(space.covariance)
    keep = np.linalg.solve(pose + noise, pose)  # the transpose of the filter: codes are rows
    return (1 - share) * offsets + share * (offsets @ keep)


def soft_limit(offsets: Float64, space: Subspace) -> Float64:
    """Offsets [T, L, D] none of which, whitened by W's covariance, is longer than nearly all of W's codes are.

    Below KNEE times that, nothing changes; above, lengths come closer and closer to the bound and never reach it.
    """
    radii = _radii(offsets, _whitening(space.covariance)) / space.bound
    over = np.maximum(radii - KNEE, 0) / (1 - KNEE)
    wanted = np.where(over > 0, KNEE + (1 - KNEE) * np.tanh(over), radii)
    return offsets * (wanted / np.maximum(radii, 1e-12))[..., None]


def _ridge(covariance: Float64) -> Float64:
    return RIDGE * float(np.trace(covariance)) / len(covariance) * np.eye(len(covariance))


def _whitening(covariance: Float64) -> Float64:
    """[D, D] that rows are multiplied by."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance + _ridge(covariance))).T)


def _radii(offsets: Float64, whitening: Float64) -> Float64:
    """[...] root mean square of whitened offsets [..., D]."""
    found: Float64 = np.sqrt(np.square(offsets @ whitening).mean(-1))
    return found
