"""How much of its source's performance a result shows, and whose face."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artefacts import load_arrays, load_track
from pipeline.runner import execute
from pipeline.stage import FileInput, Node, Reporter
from pipeline.stages import align, look, recognise, track
from pipeline.store import Store
from pipeline.streams import open_frames
from reanimate.agreement import Float64, agree, centred, jerk, restlessness, undisturbed
from reanimate.errors import MediaError
from reanimate.faces.detect import DlibDetector
from reanimate.faces.expression import Expression, express
from reanimate.images import resize
from reanimate.metrics import LpipsNet, descriptor_at, likeness, lpips_distance, lpips_ready, surest_face
from reanimate.types import FaceTrack, Float32, VideoInfo
from reanimate.video import frames, probe

CURVES = ("yaw", "pitch", "roll", "mouth", "eyes", "smile")
RESOLUTION = 128  # px; the yardstick that results of every model are held against
LPIPS_EVERY = 10  # frames
_DIGITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Performance:
    """What a source shows, and what is left of it in its own crops: the most that a result can show."""

    track: FaceTrack
    info: VideoInfo
    expression: Expression
    ceiling: Expression
    who: Float64
    """[128] mean descriptor."""
    restlessness: Float64
    """[T] of its crops."""
    jerk: float
    """Of its landmarks in its crops, see agreement.jerk."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured."""

    report: dict[str, Any]
    """As it goes into JSON: None where nothing could be measured."""
    curves: Mapping[str, Expression]
    """Of `source`, `ceiling` and `result`."""
    info: VideoInfo
    """The source's."""


def evaluate(
    result: Path, source: Path, target: Path, store: Store, reporter: Reporter, resolution: int = RESOLUTION,
    lpips: LpipsNet | None = None,
) -> Evaluation:  # fmt: skip
    """Measure a result of `run`: aligned crops, frame by frame those of its source. What is found of source and target
    stays in the cache.

    Raises:
        WeightsUnavailable: LPIPS was asked for, and its trunk's weights are neither cached nor can be fetched.
        MediaError: a file cannot be read, or the result is not a square video with the source's frames.
        FaceNotFound: source or target shows no face.
    """
    info = _matching(result, source)
    performer, face = performer_nodes(source, resolution), identified("target", target)
    if lpips is not None:
        lpips_ready(lpips)
        inputs: dict[str, Node | FileInput] = {"clip": FileInput(target), "track": face["track"]}
        face["align"] = Node(align.STAGE, align.AlignParams(resolution, "ignore"), inputs, "target/align")
    made = execute([*performer.values(), *face.values()], store, reporter)
    performance = performed(made)
    landmarks, descriptors = _watch(result, info, performance.info.num_frames, reporter)
    seen = express(landmarks)
    who = whose(made["target/recognise"])
    shaking = restlessness(resize(frame, resolution, resolution) for frame in frames(result, info))
    missing = np.flatnonzero(np.isnan(descriptors[:, 0]))
    report = {
        "frames": len(landmarks),
        "frame_rate": str(performance.info.frame_rate),
        "side": info.height,
        "ceiling_side": resolution,
        "frames_without_face": {"source": int((~performance.track.detected).sum()), "result": len(missing)},
        "missing": missing.tolist(),
        "motion": {name: _motion(performance, seen, name) for name in CURVES},
        "identity": _identity(descriptors, who, performance.who),
        "flicker": _flicker(performance, shaking),
        "jitter": _against(jerk(landmarks, performance.track.cuts), performance.jerk),
    }
    if lpips is not None:
        report["lpips"] = {"net": lpips, "to_target": _number(_lpips(result, info, made["target/align"], lpips))}
    curves = {"source": performance.expression, "ceiling": performance.ceiling, "result": seen}
    return Evaluation(report, curves, performance.info)


def _matching(result: Path, source: Path) -> VideoInfo:
    info, original = probe(result), probe(source)
    if info.width != info.height:
        raise MediaError(result, f"is {info.width}x{info.height} px; a result of run is a square")
    if (info.num_frames, info.frame_rate) != (original.num_frames, original.frame_rate):
        raise MediaError(
            result,
            f"has {info.num_frames} frames at {info.frame_rate} a second, {source} {original.num_frames} at "
            f"{original.frame_rate}; give what run made of this source",
        )
    return info


def identified(role: str, clip: Path) -> dict[str, Node]:
    """From a clip to whom it shows."""
    given = FileInput(clip)
    tracked = Node(track.STAGE, track.TrackParams(), {"clip": given}, f"{role}/track")
    inputs: dict[str, Node | FileInput] = {"clip": given, "track": tracked}
    return {
        "track": tracked,
        "recognise": Node(recognise.STAGE, recognise.RecogniseParams(), inputs, f"{role}/recognise"),
    }


def performer_nodes(source: Path, resolution: int = RESOLUTION) -> dict[str, Node]:
    """From the source to whom it shows, and to what its crops show of it."""
    nodes = identified("source", source)
    inputs: dict[str, Node | FileInput] = {"clip": FileInput(source), "track": nodes["track"]}
    nodes["align"] = Node(align.STAGE, align.AlignParams(resolution, "ignore", "as-filmed"), inputs, "ceiling/align")
    nodes["look"] = Node(look.STAGE, look.LookParams(), {"crops": nodes["align"]}, "ceiling/look")
    return nodes


def performed(made: Mapping[str, Path]) -> Performance:
    """What was found of a source, from where the results of its nodes lie."""
    found, info = load_track(made["source/track"])
    landmarks = load_arrays(made["ceiling/look"] / look.SEEN, look.LANDMARKS)["landmarks"]
    return Performance(
        track=found,
        info=info,
        expression=express(found.landmarks),
        ceiling=express(landmarks),
        who=whose(made["source/recognise"]),
        restlessness=restlessness(open_frames(made["ceiling/align"] / align.CROPS)),
        jerk=jerk(landmarks, found.cuts),
    )


def whose(folder: Path) -> Float64:
    """[128] the mean descriptor that `recognise` left in a folder."""
    found: Float64 = load_arrays(folder / recognise.DESCRIPTORS, recognise.DESCRIBED)["descriptors"]
    return np.asarray(np.nanmean(found, 0))


def _watch(result: Path, info: VideoInfo, num_frames: int, reporter: Reporter) -> tuple[Float32, Float64]:
    """Landmarks [T, 68, 2] px and descriptors [T, 128] of every frame by itself, NaN where no face is seen."""
    landmarks, descriptors = np.full((num_frames, 68, 2), np.nan, np.float32), np.full((num_frames, 128), np.nan)
    detector, count = DlibDetector(), 0
    reporter.start("result", num_frames)
    for t, frame in zip(range(num_frames), frames(result, info), strict=False):
        seen = surest_face(frame, detector)
        if seen is not None:
            landmarks[t] = seen[1].landmarks
            descriptors[t] = descriptor_at(seen[0], landmarks[t])
        count += 1
        reporter.advance()
    reporter.finish()
    if count < num_frames:
        raise MediaError(result, f"gave {count} frames, its source {num_frames}")
    return landmarks, descriptors


def _motion(performance: Performance, seen: Expression, name: str) -> dict[str, float | int | None]:
    rate, cuts = performance.info.frame_rate, performance.track.cuts
    source = getattr(performance.expression, name)
    found = agree(source, getattr(seen, name), rate, cuts)
    most = agree(source, getattr(performance.ceiling, name), rate, cuts)
    moved = centred(source, cuts)
    return {
        "correlation": _number(found.correlation),
        "ceiling": _number(most.correlation),
        "share_of_ceiling": _number(found.correlation / most.correlation if most.correlation > 0 else math.nan),
        "amplitude": _number(found.amplitude),
        "amplitude_ceiling": _number(most.amplitude),
        "lag_frames": _number(found.lag),
        "lag_seconds": _number(found.lag / float(rate)),
        "spread": _number(float(np.nanstd(moved))),
        "range": _number(float(np.nanmax(moved) - np.nanmin(moved))),
        "frames": found.frames,
    }


def _identity(descriptors: Float64, target: Float64, source: Float64) -> dict[str, float | None]:
    found = likeness(descriptors, target, source)
    return {
        "distance_to_target": _number(found.mean),
        "worst_distance_to_target": _number(found.worst),
        "share_same_person": _number(found.under),
        "distance_to_source": _number(found.to_source),
        "share_nearer_target": _number(found.nearer),
        "target_to_source": _number(float(np.linalg.norm(target - source))),
    }


def _flicker(performance: Performance, shaking: Float64) -> dict[str, float | None]:
    counted = undisturbed(performance.track.detected, performance.track.cuts)
    found, source = (
        float(values[counted].mean()) if counted.any() else math.nan for values in (shaking, performance.restlessness)
    )
    return _against(found, source)


def _against(found: float, source: float) -> dict[str, float | None]:
    ratio = found / source if source > 0 else math.nan
    return {"result": _number(found), "source": _number(source), "ratio": _number(ratio)}


def _lpips(result: Path, info: VideoInfo, target: Path, net: LpipsNet) -> float:
    """Mean over every LPIPS_EVERY-th frame of the result; the target is its first crop."""
    face = open_frames(target / align.CROPS)[0]
    shown = islice(frames(result, info), 0, None, LPIPS_EVERY)
    return float(np.mean([lpips_distance(resize(frame, len(face), len(face)), face, net) for frame in shown]))


def _number(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None
