"""Plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reanimate.errors import MediaError
from reanimate.types import PoseDeltas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reanimate.faces.expression import Expression

COMPONENTS = 3
_PANELS = {
    "yaw": "degrees, right is positive",
    "pitch": "degrees, up is positive",
    "roll": "degrees, clockwise is positive",
    "mouth": "gap, eye spans",
    "eyes": "height over width",
    "smile": "width of the mouth, eye spans",
}


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
    _save(figure, path)


def draw_curves(curves: Mapping[str, Expression], frame_rate: Fraction, path: Path) -> None:
    """A picture of what each of several performances does with head, mouth and eyes over time.

    Raises:
        MediaError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    panels = figure.subplots(3, 2, sharex=True).ravel()
    for panel, (name, unit) in zip(panels, _PANELS.items(), strict=True):
        for label, expression in curves.items():
            values = getattr(expression, name)
            panel.plot(np.arange(len(values)) / float(frame_rate), values, label=label, linewidth=1)
        panel.set(title=name, ylabel=unit)
    panels[0].legend()
    for panel in panels[-2:]:
        panel.set(xlabel="seconds")
    _save(figure, path)


def draw_fits(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """A picture of the mean squared error of fits over their passes.

    Raises:
        MediaError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    for label, errors in curves.items():
        panel.plot(np.arange(1, len(errors) + 1), errors, label=label, linewidth=1)
    panel.set(xscale="log", yscale="log", xlabel="passes", ylabel="mean squared error")
    panel.legend()
    _save(figure, path)


def draw_cost(rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """A picture of the loss of several ways to invert the same frames over their passes and over their seconds.

    Raises:
        MediaError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, unit in zip(panels, ("passes", "seconds"), strict=True):
        for i, (name, row) in enumerate(rows.items()):
            panel.scatter(
                max(row[unit], 1e-3), row["loss_slow"], color=f"C{i % 10}", marker="oPsD"[i // 10 % 4], label=name
            )
        panel.set(xscale="log", xlabel=f"{unit} a frame")
    panels[0].set(ylabel="loss, the same frames of the clip for all")
    panels[1].legend(fontsize="small")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error
