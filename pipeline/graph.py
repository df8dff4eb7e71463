"""Which stage feeds which. Read this page first.

source ─ track ─ align ─ invert ─ decompose ─ (refine) ─ smooth ─┐ pose
target ─ track ─ align ─ invert ─ decompose ─────────────────────┼ match ─ apply ─ synthesize ─ encode
                          │       identity                       │                                └ sound of the source
                          └ rehearse ────────────────────────────┘

rehearse also tunes the model to the target: match and synthesize draw with what it made of it. refine is there where it
is asked for. It, and apply with a limit, are also fed by `subspace`, which comes of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import build, convert, show
from pipeline.stage import FileInput, Node
from pipeline.stages import (
    align,
    apply,
    decompose,
    encode,
    invert,
    load_pose,
    match,
    refine,
    rehearse,
    smooth,
    subspace,
    synthesize,
    track,
)
from reanimate.checkpoints.bundle import FEATURES, Card, find_bundle, generator_config, read_card
from reanimate.checkpoints.families import family_types
from reanimate.errors import ConfigError, MediaError, ModelError
from reanimate.faces.track import LARGEST
from reanimate.generators.protocol import GeneratorConfig
from reanimate.images import is_picture
from reanimate.inversion.invert import PRESETS, InvertParams, Preset
from reanimate.inversion.spaces import check_space
from reanimate.video import probe

SECTIONS: Mapping[str, type] = {
    "track": track.TrackParams,
    "align": align.AlignParams,
    "invert": InvertParams,
    "decompose": decompose.DecomposeParams,
    "refine": refine.RefineParams,
    "smooth": smooth.SmoothParams,
    "rehearse": rehearse.RehearseParams,
    "match": match.MatchParams,
    "apply": apply.ApplyParams,
    "synthesize": synthesize.SynthesizeParams,
    "encode": encode.EncodeParams,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle as the graph sees it: nothing is loaded."""

    folder: Path
    card: Card

    @property
    def config(self) -> GeneratorConfig:
        """The generator's sizes.

        Raises:
            ModelError: the card's are those of no generator.
        """
        return generator_config(self.card, str(self.folder))

    @property
    def has_w(self) -> bool:
        """Whether its codes live in a W, not only in z."""
        return bool(family_types(self.card.family, str(self.folder))[1].has_w)


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
    config = model.config
    inversion = PRESETS[preset] if model.has_w else replace(PRESETS[preset], space="z")
    if FEATURES in model.card.files and preset != "paper":
        inversion = replace(inversion, loss="features")
    defaults = {"invert": inversion, "apply": _apply_defaults(model, amplitude)}
    chosen = build(SECTIONS, file=file, sets=sets, overrides=flags, defaults=defaults)
    if chosen["align"].resolution not in (0, config.resolution):
        raise ConfigError("align.resolution", f"the model works at {config.resolution} px and nothing else")
    chosen["align"] = replace(chosen["align"], resolution=config.resolution)
    if chosen["invert"].loss == "squeezenet":
        raise ConfigError("invert.loss", "squeezenet is for training; use multiscale or vgg16")
    if chosen["invert"].loss == "features" and FEATURES not in model.card.files:
        raise ConfigError("invert.loss", f"{model.card.name} has no features of its own; use multiscale or vgg16")
    check_space(chosen["invert"].space, model.has_w, model.card.name)
    layers = _motion_layers(model)
    if chosen["apply"].layers is None and not chosen["apply"].rehearse:
        chosen["apply"] = replace(chosen["apply"], layers=layers)
    _check_layers(chosen["apply"].layers, config.num_ws)
    return chosen


def _check_layers(layers: tuple[int, ...] | None, num_ws: int) -> None:
    if layers is not None and not all(0 <= layer < num_ws for layer in layers):
        raise ConfigError("apply.layers", f"{show(list(layers))} is not within 0 to {num_ws - 1}, the model's layers")


def _apply_defaults(model: Model, amplitude: str) -> apply.ApplyParams:
    measured = model.card.measured
    if amplitude == "model" and "typical_pose_rms" not in measured:
        raise ConfigError("amplitude", f"model {model.folder} has no typical pose RMS; use --amplitude source")
    try:
        scale = convert(measured["typical_pose_rms"], float) if amplitude == "model" else None
    except ValueError as error:
        raise ModelError(model.folder, f"its card cannot be used: typical_pose_rms {error}") from error
    return apply.ApplyParams(scale=scale)


def _motion_layers(model: Model) -> tuple[int, ...] | None:
    """The card's, for another's codes; a target's own movements need all layers that they were found with."""
    try:
        layers: tuple[int, ...] | None = convert(model.card.measured.get("motion_layers"), tuple[int, ...] | None)
    except ValueError as error:
        raise ModelError(model.folder, f"its card cannot be used: motion_layers {error}") from error
    return layers


def clip_nodes(role: str, path: Path, model: Model, chosen: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes of one clip by stage name, from the file to identity and pose. `role` is `source` or `target`.

    Whose face is followed is a choice for sources, and so is the size of a pose; a target is the largest face, and its
    pose is not used.
    """
    if role == "target":
        chosen = {**chosen, "track": replace(chosen["track"], face=LARGEST)}
        chosen["decompose"] = replace(chosen["decompose"], normalisation="clip")
    clip = FileInput(path)
    nodes: dict[str, Node] = {}

    def add(stage: Any, params: Any, **inputs: Node | FileInput) -> Node:
        nodes[stage.name] = Node(stage, params, inputs, f"{role}/{stage.name}")
        return nodes[stage.name]

    tracked = add(track.STAGE, chosen["track"], clip=clip)
    aligned = add(align.STAGE, chosen["align"], clip=clip, track=tracked)
    inversion = invert.InvertStageParams(**asdict(chosen["invert"]), **_reference(model))
    inverted = add(invert.STAGE, inversion, crops=aligned, track=tracked)
    params = decompose.DecomposeStageParams(**asdict(chosen["decompose"]), model_digest=model.card.digest)
    add(decompose.STAGE, params, latents=inverted, track=tracked)
    return nodes


def _reference(model: Model) -> dict[str, Any]:
    return {"model_digest": model.card.digest, "model": str(model.folder)}


def subspace_node(model: Model) -> Node:
    """The node of where poses lie in a model."""
    return Node(subspace.STAGE, subspace.SubspaceParams(**_reference(model)), {}, "model/subspace")


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
    pose, wanted = nodes["decompose"], chosen["refine"]
    if wanted.shrink:
        inputs: dict[str, Node | FileInput] = {"pose": pose, "subspace": subspace_node(model)}
        pose = nodes["refine"] = Node(refine.STAGE, wanted, inputs, "source/refine")
    nodes["smooth"] = Node(smooth.STAGE, chosen["smooth"], {"pose": pose}, "source/smooth")
    return nodes


def run_graph(source: Path, target: Path, model: Model, chosen: Mapping[str, Any]) -> Node:
    """The node that makes the video of `target` moving like `source`."""
    performer = pose_nodes(source, model, chosen)
    if _are_one(source, target):  # who has moved so need not rehearse it
        chosen = {**chosen, "apply": replace(chosen["apply"], rehearse=False)}
    frames = _frames(target, performer["smooth"], model, chosen)
    inputs: dict[str, Node | FileInput] = {
        "frames": frames,
        "track": performer["track"],
        "source": FileInput(source),
    }
    return Node(encode.STAGE, chosen["encode"], inputs, "encode")


def _are_one(source: Path, target: Path) -> bool:
    if not target.is_file() or source.stat().st_size != target.stat().st_size:
        return False
    return FileInput(source).digest == FileInput(target).digest


def apply_graph(pose: Path, target: Path, model: Model, chosen: Mapping[str, Any]) -> Node:
    """The node that makes the silent video of `target` moving like an exported pose."""
    params = load_pose.LoadPoseParams(model.card.digest)
    loaded = Node(load_pose.STAGE, params, {"file": FileInput(pose)}, "pose/load")
    frames = _frames(target, loaded, model, chosen, pose_first=True)
    inputs: dict[str, Node | FileInput] = {"frames": frames, "pose": loaded}
    return Node(encode.SILENT, chosen["encode"], inputs, "encode")


def moving_inputs(target: Path, pose: Node, model: Model, chosen: Mapping[str, Any]) -> dict[str, Node | FileInput]:
    """What a stage that moves `target` as in `pose` is fed by; see apply.fed_by."""
    nodes, more = clip_nodes("target", target, model, chosen), apply.fed_by(chosen["apply"])
    inputs: dict[str, Node | FileInput] = {"identity": nodes["decompose"], "pose": pose}
    if "rehearsal" in more:
        how = asdict(chosen["rehearse"]) | {name: getattr(chosen["invert"], name) for name in ("loss", "norm")}
        given: dict[str, Node | FileInput] = {"track": nodes["track"], "latents": nodes["invert"]}
        given["clip"] = FileInput(target)
        params = rehearse.RehearseStageParams(**how, **_reference(model))
        inputs["rehearsal"] = Node(rehearse.STAGE, params, given, "target/rehearse")
        mending = match.MatchStageParams(**asdict(chosen["match"]), **_reference(model))
        inputs["asked"] = Node(match.STAGE, mending, {**inputs, "pose": _movements(pose)}, "match")
    if "subspace" in more:
        inputs["subspace"] = subspace_node(model)
    return inputs


def _movements(pose: Node) -> Node:
    """A performance whose landmarks show the same, before anything was done to its codes: what is asked of a target by
    them need not be found again for codes that are drawn or normalised otherwise.
    """
    if pose.stage is not smooth.STAGE:
        return pose
    before = pose.inputs["pose"]
    if isinstance(before, Node) and before.stage is refine.STAGE:
        before = before.inputs["pose"]
    if isinstance(before, Node) and before.params.normalisation != "clip":
        before = Node(before.stage, replace(before.params, normalisation="clip"), before.inputs, "source/plain")
    if before is pose.inputs["pose"]:
        return pose
    return Node(pose.stage, pose.params, {"pose": before}, "source/movements")


def _frames(target: Path, pose: Node, model: Model, chosen: Mapping[str, Any], *, pose_first: bool = False) -> Node:
    wanted = chosen["apply"]
    # inputs are made in this order: what is quick to fail comes before what takes long
    inputs = moving_inputs(target, pose, model, chosen)
    if pose_first:
        inputs = {"pose": pose, **inputs}
    applied = Node(apply.stage(wanted), wanted, inputs, "apply")
    params = synthesize.SynthesizeStageParams(**asdict(chosen["synthesize"]), **_reference(model))
    given: dict[str, Node | FileInput] = {"latents": applied}
    if "rehearsal" in inputs:
        given["rehearsal"] = inputs["rehearsal"]
    return Node(synthesize.stage("rehearsal" in inputs), params, given, "synthesize")
