"""Which settings are measured for the page on motion, on which pairs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artefacts import load_deltas
from pipeline.graph import pose_nodes, settings
from pipeline.motion_runs import Bench, Setting, average, measure
from pipeline.runner import execute
from pipeline.stage import Reporter
from reanimate.agreement import agree
from reanimate.faces.light import lit
from reanimate.motion import layer_groups
from reanimate.smoothing import smooth
from reanimate.types import PoseDeltas, UInt8
from reanimate.video import frames, probe, write_video

GAINS = (1.0, 2.0)
WINDOWS = (0.06, 0.12, 0.2, 0.3, 0.5)  # seconds
FILTERS = ("moving-average", "gaussian", "savitzky-golay", "one-euro")
MODULATION, PERIOD = 0.2, 1.3  # of brightness, and seconds; incommensurable with speech
COMPONENTS = 3  # of a performance, whose amplitude and lag a filter is judged by

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Everything the page shows; each row has a label and what motion_runs.measure gives, averaged over pairs."""

    sources: list[str]
    targets: list[str]
    most: int
    """Frames of each pair that the sweeps look at."""
    gains: list[Row]
    """With normalisation, layers and gain."""
    options: list[Row]
    filters: list[Row]
    """With filter, seconds, jitter_removed, amplitude_kept and lag, frames."""
    pairs: list[Row]
    """At the defaults, with source and target, of all frames."""
    light: list[Row]
    """Of a clip of modulated brightness."""


def sweep(bench: Bench, most: int, light_frames: int, reporter: Reporter) -> Sweeps:
    """Measure all of it."""
    return Sweeps(
        sources=list(bench.sources),
        targets=list(bench.targets),
        most=most,
        gains=[_over_pairs(bench, setting, reporter) | facts for setting, facts in gain_settings(bench, most)],
        options=[_over_pairs(bench, setting, reporter) for setting in option_settings(most)],
        filters=_filters(bench, reporter),
        pairs=_pairs(bench, reporter),
        light=_light(bench, light_frames, reporter) if light_frames else [],
    )


def gain_settings(bench: Bench, most: int) -> Iterator[tuple[Setting, Row]]:
    """Normalisation times layers times gain."""
    num_ws = bench.model.config.num_ws
    coarse, middle, _ = layer_groups(num_ws)
    masks = {"all": num_ws, "to 32 px": middle.stop, "to 8 px": coarse.stop}
    for normalisation, (mask, stop), gain in itertools.product(("clip", "frame", "constant"), masks.items(), GAINS):
        applied: Row = {"gain": gain, "layers": tuple(range(stop))}
        if normalisation == "constant":
            applied["scale"] = _typical(bench)
        decomposed = {"normalisation": "frame" if normalisation == "frame" else "clip"}
        label = f"{normalisation}, {mask}, gain {gain:g}"
        yield (
            Setting(label, {"decompose": decomposed, "apply": applied}, most),
            {"normalisation": normalisation, "layers": mask, "gain": gain},
        )


def _typical(bench: Bench) -> float:
    """The constant factor: the model card's, or the RMS of the sources' own scales."""
    if "typical_pose_rms" in bench.model.card.measured:
        return float(bench.model.card.measured["typical_pose_rms"])
    scales = [_performance(bench, name).scale for name in bench.sources]
    return float(np.sqrt(np.mean(np.square(scales))))


def _performance(bench: Bench, source: str) -> PoseDeltas:
    node = pose_nodes(bench.sources[source][0], bench.model, settings(bench.model, sets=bench.sets))["decompose"]
    return load_deltas(bench.store.folder(node))


def option_settings(most: int) -> list[Setting]:
    """The defaults, and what else can be chosen."""
    return [
        Setting("defaults", {}, most),
        Setting("--gain 0: the target's own reconstruction", {"apply": {"gain": 0.0}}, most),
        Setting("--reference nearest", {"apply": {"reference": "nearest"}}, most),
        Setting("--limit", {"apply": {"limit": True}}, most),
        Setting("--shrink 0.5", {"refine": {"shrink": 0.5}}, most),
        Setting("--shrink 1", {"refine": {"shrink": 1.0}}, most),
        Setting("--no-rehearse", {"apply": {"rehearse": False}}, most),
        Setting("--no-rehearse --gain 2", {"apply": {"rehearse": False, "gain": 2.0}}, most),
        Setting("--no-rehearse --shrink 0.5", {"apply": {"rehearse": False}, "refine": {"shrink": 0.5}}, most),
        Setting("--set match.rounds=0", {"match": {"rounds": 0}}, most),
        Setting("--no-tune", {"rehearse": {"tune": False}}, most),
        Setting("--carry 0", {"apply": {"carry": 0.0}}, most),
        Setting("--carry 1", {"apply": {"carry": 1.0}}, most),
        Setting("--free-colour", {"synthesize": {"hold_colour": False}}, most),
        Setting("--head-motion none", {"encode": {"head_motion": "none"}}, most),
    ]


def _over_pairs(bench: Bench, setting: Setting, reporter: Reporter) -> Row:
    pairs = itertools.product(bench.sources, bench.targets)
    rows = [measure(bench, source, target, setting, reporter) for source, target in pairs]
    return {"label": setting.label, **average(rows)}


def _pairs(bench: Bench, reporter: Reporter) -> list[Row]:
    default = Setting("defaults")
    return [
        {"source": source, "target": target, **measure(bench, source, target, default, reporter)}
        for source, target in itertools.product(bench.sources, bench.targets)
    ]


def _filters(bench: Bench, reporter: Reporter) -> list[Row]:
    unsmoothed = []
    for name, (path, _) in bench.sources.items():
        chosen = settings(bench.model, sets=bench.sets)
        execute([pose_nodes(path, bench.model, chosen)["decompose"]], bench.store, reporter, bench.device)
        unsmoothed.append(_performance(bench, name))
    rows: list[Row] = []
    for name, seconds in itertools.product(FILTERS, WINDOWS):
        found = [filtering(deltas, name, seconds) for deltas in unsmoothed]
        rows.append({"filter": name, "seconds": seconds, **average(found)})
    return rows


def filtering(deltas: PoseDeltas, method: Any, seconds: float) -> dict[str, float]:
    """What a filter does to a performance: shares of its jerk removed and of its amplitude kept, and how late it is.

    Jerk is the root mean square of third differences over all numbers; amplitude and lag are those of the strongest
    components.
    """
    smoothed = smooth(deltas, seconds, method)
    before, after = (d.deltas.reshape(len(d.deltas), -1).astype(np.float64) for d in (deltas, smoothed))
    shaking = [float(np.sqrt(np.square(np.diff(values, 3, axis=0)).mean())) for values in (before, after)]
    axes = np.linalg.svd(before - before.mean(0), full_matrices=False)[2][:COMPONENTS]
    curves = [agree(before @ axis, after @ axis, deltas.frame_rate, deltas.starts) for axis in axes]
    return {
        "jitter_removed": 1 - shaking[1] / shaking[0] if shaking[0] > 0 else np.nan,
        "amplitude_kept": float(np.mean([curve.amplitude for curve in curves])),
        "lag": float(np.mean([curve.lag for curve in curves])),
    }


def _light(bench: Bench, count: int, reporter: Reporter) -> list[Row]:
    """The first clip's beginning, as filmed and with its brightness modulated, on the first target."""
    name, target = next(iter(bench.sources)), next(iter(bench.targets))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for label, depth in (("steady", 0.0), ("modulated", MODULATION)):
            clip = modulate(bench.sources[name][0], Path(folder) / f"{label}.mp4", count, depth)
            for light, hold in itertools.product(("as-filmed", "even"), (False, True)):
                flags: Any = {"align": {"light": light}, "synthesize": {"hold_colour": hold}}
                rows.append(
                    {
                        "clip": label,
                        "light": light,
                        "hold_colour": hold,
                        **_spread(bench, clip, target, flags, reporter),
                    }
                )
    return rows


def _spread(bench: Bench, clip: Path, target: str, flags: Any, reporter: Reporter) -> dict[str, float]:
    performance = next(iter(bench.sources.values()))[1]
    moved = Bench(bench.model, bench.store, bench.device, {"made": (clip, performance)}, bench.targets, bench.sets)
    found = measure(moved, "made", target, Setting("made", flags), reporter)
    return {name: found[name] for name in ("colour", "distance")}


def modulate(clip: Path, made: Path, count: int, depth: float) -> Path:
    """The first frames of a clip, their brightness rising and falling by a share."""
    info = probe(clip)

    def changed() -> Iterator[UInt8]:
        for t, frame in enumerate(itertools.islice(frames(clip, info), count)):
            yield lit(frame, 1 + depth * np.sin(2 * np.pi * t / float(info.frame_rate) / PERIOD))

    write_video(made, changed(), replace(info, num_frames=count, has_audio=False), sound_from=None, crf=0)
    return made
