"""Which stage feeds which. Read this page first.

source ─ track ─ align ─ invert ─ decompose ─ smooth ─┐ pose
target ─ track ─ align ─ invert ─ decompose ──────────┴ apply ─ synthesize ─ encode
                                  identity                                     └ sound of the source
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import build
from pipeline.stage import FileInput, Node
from pipeline.stages import align, apply, decompose, encode, invert, load_pose, smooth, synthesize, track
from reanimate.checkpoints.bundle import Card, find_bundle, read_card
from reanimate.errors import ConfigError, MediaError, ModelError
from reanimate.images import is_picture
from reanimate.inversion.invert import PRESETS, InvertParams, Preset
from reanimate.video import probe

SECTIONS: Mapping[str, type] = {
    "align": align.AlignParams,
    "invert": InvertParams,
    "smooth": smooth.SmoothParams,
    "apply": apply.ApplyParams,
    "encode": encode.EncodeParams,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle as the graph sees it: nothing is loaded."""

    folder: Path
    card: Card


def open_model(model: str) -> Model:
    """A model by embedded name or path.

    Raises:
        ModelError: it is not there, or its card cannot be read.
    """
    folder = find_bundle(model)
    return Model(folder, read_card(folder))


def settings(
    model: Model,
    preset: Preset = "fast",
    *,
    file: Path | None = None,
    sets: tuple[str, ...] = (),
    amplitude: str = "source",
    flags: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, Any]:
    """Parameters per stage: the preset and the model's card first, then the file, `--set` and flags.

    Raises:
        ConfigError: a setting is unknown or out of range, or `amplitude` is `model` and the card has no typical RMS.
        MediaError: the file is missing or not TOML.
    """
    defaults = {"invert": PRESETS[preset], "apply": _apply_defaults(model.card, amplitude)}
    chosen = build(SECTIONS, file=file, sets=sets, overrides=flags, defaults=defaults)
    resolution = model.card.config.get("resolution")
    if not isinstance(resolution, int):
        raise ModelError(model.folder, "its card says no resolution")
    if chosen["align"].resolution not in (0, resolution):
        raise ConfigError("align.resolution", f"the model works at {resolution} px and nothing else")
    chosen["align"] = replace(chosen["align"], resolution=resolution)
    return chosen


def _apply_defaults(card: Card, amplitude: str) -> apply.ApplyParams:
    layers = card.measured.get("motion_layers")
    scale = card.measured.get("typical_pose_rms") if amplitude == "model" else None
    if amplitude == "model" and scale is None:
        raise ConfigError("amplitude", f"model {card.name} has no measured typical pose RMS; use --amplitude source")
    return apply.ApplyParams(layers=tuple(layers) if layers is not None else None, scale=scale)


def clip_nodes(role: str, path: Path, model: Model, chosen: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes of one clip by stage name, from the file to identity and pose. `role` is `source` or `target`."""
    clip = FileInput(path)
    reference = {"model_digest": model.card.digest, "model": str(model.folder)}
    nodes: dict[str, Node] = {}

    def add(stage: Any, params: Any, **inputs: Node | FileInput) -> Node:
        nodes[stage.name] = Node(stage, params, inputs, f"{role}/{stage.name}")
        return nodes[stage.name]

    tracked = add(track.STAGE, track.TrackParams(), clip=clip)
    aligned = add(align.STAGE, chosen["align"], clip=clip, track=tracked)
    inversion = invert.InvertStageParams(chosen["invert"], **reference)
    inverted = add(invert.STAGE, inversion, crops=aligned, track=tracked)
    add(decompose.STAGE, decompose.DecomposeParams(model.card.digest), latents=inverted)
    return nodes


def pose_nodes(source: Path, model: Model, chosen: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes from a source video to its smoothed pose, by stage name.

    Raises:
        MediaError: the source is missing, a still, or has a single frame.
    """
    if is_picture(source) and source.is_file():
        raise MediaError(source, "is a still picture; a source must be a video")
    if probe(source).num_frames < 2:
        raise MediaError(source, "has a single frame; a source needs at least two to hold any motion")
    nodes = clip_nodes("source", source, model, chosen)
    inputs: dict[str, Node | FileInput] = {"pose": nodes["decompose"], "track": nodes["track"]}
    nodes["smooth"] = Node(smooth.STAGE, chosen["smooth"], inputs, "source/smooth")
    return nodes


def run_graph(source: Path, target: Path, model: Model, chosen: Mapping[str, Any]) -> Node:
    """The node that makes the video of `target` moving like `source`."""
    performer = pose_nodes(source, model, chosen)
    frames = _frames(target, performer["smooth"], model, chosen)
    inputs: dict[str, Node | FileInput] = {
        "frames": frames,
        "track": performer["track"],
        "source": FileInput(source),
    }
    return Node(encode.STAGE, chosen["encode"], inputs, "encode")


def apply_graph(pose: Path, target: Path, model: Model, chosen: Mapping[str, Any]) -> Node:
    """The node that makes the silent video of `target` moving like an exported pose."""
    params = load_pose.LoadPoseParams(model.card.digest)
    loaded = Node(load_pose.STAGE, params, {"file": FileInput(pose)}, "pose/load")
    frames = _frames(target, loaded, model, chosen)
    inputs: dict[str, Node | FileInput] = {"frames": frames, "latents": frames.inputs["latents"]}
    return Node(encode.SILENT, chosen["encode"], inputs, "encode")


def _frames(target: Path, pose: Node, model: Model, chosen: Mapping[str, Any]) -> Node:
    identity = clip_nodes("target", target, model, chosen)["decompose"]
    applied = Node(apply.STAGE, chosen["apply"], {"identity": identity, "pose": pose}, "apply")
    params = synthesize.SynthesizeParams(model.card.digest, str(model.folder))
    return Node(synthesize.STAGE, params, {"latents": applied}, "synthesize")
