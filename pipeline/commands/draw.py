"""Plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reanimate.errors import MediaError
from reanimate.types import PoseDeltas

COMPONENTS = 3


def draw_pose(deltas: PoseDeltas, path: Path) -> None:
    """A picture of a performance: RMS per layer and frame, and its strongest principal components over time.

    Raises:
        MediaError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    values = deltas.deltas.astype(np.float64)
    seconds = np.arange(len(values)) / float(deltas.frame_rate)
    figure = Figure(figsize=(10, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    size = np.sqrt(np.square(values).mean(2)).T
    picture = top.imshow(
        size, aspect="auto", origin="lower", extent=(0, len(values) / float(deltas.frame_rate), -0.5, len(size) - 0.5)
    )
    top.set(ylabel="layer", title=f"size of the movement per layer (1 is {deltas.scale:.3g} W+ units)")
    figure.colorbar(picture, ax=top)
    flat = values.reshape(len(values), -1)
    left, strength, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    share = np.square(strength) / max(float(np.square(strength).sum()), 1e-12)
    for i in range(min(COMPONENTS, len(strength))):
        bottom.plot(seconds, left[:, i] * strength[i], label=f"component {i + 1}: {share[i]:.0%} of the movement")
    bottom.set(xlabel="seconds", ylabel="along the component")
    bottom.legend()
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error
