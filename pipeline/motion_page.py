"""The page on motion: what was measured as tables and plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.motion_sweeps import MODULATION, Row, Sweeps
from reanimate.checkpoints.bundle import Card
from reanimate.errors import MediaError

YAW_SPREAD = 6.0  # degrees of the source, below which its yaw is mostly noise
SHARE = 0.9  # of the ceiling's correlation
AMPLITUDE = (0.8, 1.25)
DISTANCE, NEARER, FLICKER = 0.5, 0.95, 1.5
COLOUR = 2.0  # of 255


def judge(row: Row) -> dict[str, bool]:
    """Which of the aims a pair meets; those that do not concern it are left out."""

    def share(name: str) -> bool:
        return bool(row[name] >= SHARE * row[f"{name}_ceiling"])

    def within(name: str) -> bool:
        return bool(AMPLITUDE[0] <= row[f"{name}_amplitude"] <= AMPLITUDE[1])

    aims = {
        "mouth": share("mouth"),
        "mouth amplitude": within("mouth"),
        "distance": bool(row["distance"] <= DISTANCE),
        "nearer": bool(row["nearer"] >= NEARER),
        "flicker": bool(row["flicker"] <= FLICKER),
    }
    if row["yaw_spread"] > YAW_SPREAD:
        aims |= {"yaw": share("yaw"), "yaw amplitude": within("yaw")}
    return aims


def tables(found: Sweeps) -> str:
    """All of it in words."""
    return "\n\n".join(
        [
            "## At the defaults\n\n" + _pairs(found.pairs),
            "## Normalisation, layers and gain\n\n" + _table(found.gains, _GAINS),
            "## Other options\n\n" + _table(found.options, _OPTIONS),
            "## Filters\n\n" + _table(found.filters, _FILTERS),
            *(["## Light\n\n" + _table(found.light, _LIGHT)] if found.light else []),
        ]
    )


_GAINS = ("normalisation", "layers", "gain", "mouth", "mouth_amplitude", "yaw", "yaw_amplitude", "distance", "nearer")
_OPTIONS = ("label", "mouth", "mouth_amplitude", "yaw", "yaw_amplitude", "eyes", "smile", "roll", "roll_amplitude",
            "distance", "nearer", "colour")  # fmt: skip
_FILTERS = ("filter", "seconds", "jitter_removed", "amplitude_kept", "lag")
_LIGHT = ("clip", "light", "hold_colour", "colour", "distance")


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(row[name]) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return f"{value + 0.0:.2f}" if math.isfinite(value) else "–"


def _pairs(rows: Sequence[Row]) -> str:
    names = ("mouth", "mouth amplitude", "yaw", "yaw amplitude", "distance", "nearer", "flicker")
    lines = [
        "| source | target | " + " | ".join(names) + " | jitter |",
        "|" + "---|" * (len(names) + 3),
    ]
    met: dict[str, list[bool]] = {name: [] for name in names}
    for row in rows:
        aims = judge(row)
        cells = [row["source"], row["target"]]
        for name in names:
            value = _cell(row[name.replace(" ", "_")])
            if name in ("mouth", "yaw"):
                value += f" of {_cell(row[f'{name}_ceiling'])}"
            if name in aims:
                met[name].append(aims[name])
                value += " ✓" if aims[name] else " ✗"
            cells.append(value)
        lines.append(f"| {' | '.join(cells)} | {_cell(row['jitter'])} |")
    shares = [f"{sum(met[name])} of {len(met[name])}" if met[name] else "–" for name in names]
    lines.append(f"| met | | {' | '.join(shares)} | |")
    return "\n".join(lines)


def write(found: Sweeps, page: Path, plots: Mapping[str, str], card: Card, machine: str, sets: Sequence[str]) -> None:
    """Write the page; `sets` are what was set apart from the defaults.

    Raises:
        MediaError: it cannot be written.
    """
    gains = ", ".join(f"{gain:g}" for gain in sorted({row["gain"] for row in found.gains}))
    widths = [row["seconds"] for row in found.filters]
    options = "".join(f"--set {change} " for change in sets)
    text = f"""# Motion, measured

Made by `reanimate bench motion CLIPS_DIR TARGET… {options}--page {page.name}` with model `{card.name}` (digest
`{card.digest[:12]}`), and made again whenever that changes. Sources: {", ".join(found.sources)}. Targets:
{", ".join(found.targets)}. The sweeps look at {found.most} frames of each pair, evenly over the clip, and average over
pairs; the table at the defaults looks at all. Machine: {machine}.

Mouth, yaw, eyes, smile (the mouth's width) and roll are correlations with the source's own curves; amplitudes are
ratios to the source's. The ceiling is what the same detector sees of the source's own 128 px crops. Distance is that of
dlib's descriptor to the target; nearer is the share of frames that are nearer the target than the source; flicker and
jitter are ratios to the source's crops; colour is the largest change of the picture's mean colour, of 255.

Aims: mouth at least {SHARE:g} of its ceiling, yaw likewise where the source's spread is over {YAW_SPREAD:g}°,
amplitudes from {AMPLITUDE[0]:g} to {AMPLITUDE[1]:g}, distance at most {DISTANCE:g}, nearer at least {NEARER:g}, flicker
at most {FLICKER:g}, colour at most {COLOUR:g} while the source's brightness changes by ±{MODULATION:.0%}.

![identity against motion]({plots["gain"]})

*Each line is one normalisation and one set of layers at gains {gains} from left to right; the ring is the default.*

![filters]({plots["filters"]})

*Each point is a width, from {min(widths):g} to {max(widths):g} seconds; the ring is the default.*

{tables(found)}
"""
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MediaError(page, f"cannot write ({(error.strerror or str(error)).lower()})") from error


def draw(found: Sweeps, page: Path) -> dict[str, str]:
    """Names of the plots, which are written beside the page.

    Raises:
        MediaError: they cannot be written.
    """
    from matplotlib.figure import Figure

    names = {"gain": f"{page.stem}_gain.svg", "filters": f"{page.stem}_filters.svg"}
    made: dict[str, Callable[[Any], None]] = {
        "gain": lambda figure: _draw_gains(figure, found.gains),
        "filters": lambda figure: _draw_filters(figure, found.filters),
    }
    for name, draw_it in made.items():
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        draw_it(figure)
        path = page.with_name(names[name])
        try:
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise MediaError(path, f"cannot write ({(error.strerror or str(error)).lower()})") from error
    return names


def _draw_gains(figure: Any, rows: Sequence[Row]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    lines = {(row["normalisation"], row["layers"]): None for row in rows}
    styles = {"clip": "-", "frame": ":", "constant": "--"}
    colours = {mask: f"C{i}" for i, mask in enumerate(dict.fromkeys(mask for _, mask in lines))}
    for panel, name in ((left, "mouth"), (right, "mouth_amplitude")):
        for normalisation, mask in lines:
            line = [row for row in rows if (row["normalisation"], row["layers"]) == (normalisation, mask)]
            x, y = ([row[key] for row in line] for key in (name, "distance"))
            label = f"{normalisation}, {mask}"
            panel.plot(x, y, styles[normalisation] + "o", color=colours[mask], label=label, linewidth=1, markersize=3)
        default = rows[0]
        panel.plot(default[name], default["distance"], "o", markersize=12, fillstyle="none", color="black")
        panel.set(xlabel=name.replace("_", " ") + (" correlation" if name == "mouth" else " ratio"))
    left.set(ylabel="distance to the target")
    right.legend(fontsize=7)


def _draw_filters(figure: Any, rows: Sequence[Row]) -> None:
    left, right = figure.subplots(1, 2, sharex=True)
    for name in dict.fromkeys(row["filter"] for row in rows):
        line = [row for row in rows if row["filter"] == name]
        for panel, key in ((left, "amplitude_kept"), (right, "lag")):
            panel.plot(
                [row["jitter_removed"] for row in line], [row[key] for row in line], "-o", label=name, markersize=3
            )
    default = next(row for row in rows if (row["filter"], row["seconds"]) == ("moving-average", 0.12))
    for panel, key, unit in ((left, "amplitude_kept", "amplitude kept"), (right, "lag", "lag, frames")):
        panel.plot(default["jitter_removed"], default[key], "o", markersize=12, fillstyle="none", color="black")
        panel.set(xlabel="jitter removed", ylabel=unit)
    left.legend(fontsize=7)
