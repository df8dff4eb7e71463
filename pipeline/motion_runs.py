"""Many settings of one performance on one face, each measured and kept in the cache."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artefacts import load_arrays
from pipeline.evaluation import Performance, identified, performed, performer_nodes, whose
from pipeline.graph import Model, moving_inputs, pose_nodes, settings
from pipeline.runner import execute
from pipeline.stage import Node, Reporter
from pipeline.stages import watch
from pipeline.store import Store
from reanimate.agreement import Float64, agree, jerk, undisturbed
from reanimate.faces.expression import express
from reanimate.metrics import likeness

CURVES = ("yaw", "mouth", "pitch", "eyes", "smile")


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to move a face."""

    label: str
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By stage, as graph.settings takes them."""
    most: int = 0
    """Frames that are looked at; 0 is all."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Sources and targets with what is known of them."""

    model: Model
    store: Store
    device: str
    sources: Mapping[str, tuple[Path, Performance]]
    targets: Mapping[str, tuple[Path, Float64]]
    """{name: the file and its descriptor [128]}."""
    sets: tuple[str, ...] = ()


def open_bench(
    model: Model, store: Store, device: str, sources: Sequence[Path], targets: Sequence[Path], reporter: Reporter,
    sets: tuple[str, ...] = (),
) -> Bench:  # fmt: skip
    """What sources show, and whom all of them show; kept in the cache."""
    shown, faces = {}, {}
    for path in sources:
        shown[path.stem] = path, performed(execute([*performer_nodes(path).values()], store, reporter))
    for path in targets:
        faces[path.stem] = (
            path,
            whose(execute([*identified("target", path).values()], store, reporter)["target/recognise"]),
        )
    return Bench(model, store, device, shown, faces, sets)


def measure(bench: Bench, source: str, target: str, setting: Setting, reporter: Reporter) -> dict[str, float]:
    """What one setting gives of one pair: correlation, ceiling and amplitude of each curve, identity and steadiness."""
    (clip, performance), (face, who) = bench.sources[source], bench.targets[target]
    chosen = settings(bench.model, flags=setting.flags, sets=bench.sets)
    pose = pose_nodes(clip, bench.model, chosen)["smooth"]
    params = watch.WatchParams(
        **asdict(chosen["apply"]),
        most=setting.most,
        hold_colour=chosen["synthesize"].hold_colour,
        head_motion=chosen["encode"].head_motion != "none",
        model_digest=bench.model.card.digest,
        model=str(bench.model.folder),
    )
    node = Node(watch.stage(params), params, moving_inputs(face, pose, bench.model, chosen), "watch")
    made = execute([node], bench.store, reporter, bench.device)
    return _row(load_arrays(made["watch"] / watch.SEEN, watch.WATCHED), performance, who)


def _row(seen: Mapping[str, Any], performance: Performance, who: Float64) -> dict[str, float]:
    frames, cuts = seen["frames"], performance.track.cuts
    shot = np.cumsum(cuts)[frames]
    starts = np.concatenate([[True], shot[1:] != shot[:-1]])
    rate = performance.info.frame_rate * len(frames) / len(cuts)
    found = express(seen["landmarks"])
    row: dict[str, float] = {}
    for name in CURVES:
        source = getattr(performance.expression, name)[frames]
        result = agree(source, getattr(found, name), rate, starts)
        most = agree(source, getattr(performance.ceiling, name)[frames], rate, starts)
        row |= {name: result.correlation, f"{name}_ceiling": most.correlation, f"{name}_amplitude": result.amplitude}
        row |= {f"{name}_lag": result.lag, f"{name}_spread": float(np.nanstd(getattr(performance.expression, name)))}
    rolled = agree(performance.expression.roll[frames], found.roll, rate, starts)
    row |= {"roll": rolled.correlation, "roll_amplitude": rolled.amplitude}
    whom = likeness(seen["descriptors"], who, performance.who)
    row |= {
        "distance": whom.mean,
        "nearer": whom.nearer,
        "to_source": whom.to_source,
        "seen": whom.frames / len(frames),
    }
    row["colour"] = float(np.abs(seen["colours"] - seen["colours"].mean(0)).max())
    if len(frames) == len(cuts):
        steady = undisturbed(performance.track.detected, cuts)
        row["flicker"] = _mean(seen["restlessness"][steady]) / _mean(performance.restlessness[steady])
        row["jitter"] = jerk(seen["landmarks"], cuts) / performance.jerk if performance.jerk > 0 else math.nan
    return row


def _mean(values: Float64) -> float:
    return float(values.mean()) if len(values) and values.mean() > 0 else math.nan


def average(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each value over pairs; pairs in which it is unknown count nowhere."""
    names = {name for row in rows for name in row}
    columns = {name: np.array([row.get(name, math.nan) for row in rows]) for name in sorted(names)}
    return {name: float(np.nanmean(c)) if np.isfinite(c).any() else math.nan for name, c in columns.items()}
