"""The graph: what feeds what, what a setting changes, and what a model's card may say."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_clip

from pipeline.graph import SECTIONS, Model, apply_graph, clip_nodes, open_model, pose_nodes, run_graph, settings
from pipeline.stage import FileInput, Node
from reanimate.errors import ConfigError, MediaError, ModelError


@pytest.fixture(scope="session")
def model(tiny_bundle: Path) -> Model:
    return open_model(str(tiny_bundle))


def nodes(goal: Node) -> dict[str, Node]:
    """By label, inputs first."""
    found: dict[str, Node] = {}
    for made in goal.inputs.values():
        if isinstance(made, Node):
            found |= nodes(made)
    return found | {goal.label: goal}


def changed(model: Model, source: Path, target: Path, **options: Any) -> set[str]:
    """Labels whose results are other ones with these options than without."""
    before = nodes(run_graph(source, target, model, settings(model)))
    after = nodes(run_graph(source, target, model, settings(model, **options)))
    assert list(before) == list(after)
    return {label for label in before if before[label].key != after[label].key}


CLIP = ["track", "align", "invert", "decompose"]
TAIL = {"apply", "synthesize", "encode"}


def test_run_is_two_clips_that_meet_in_apply(model: Model, source: Path, face_picture: Path) -> None:
    found = nodes(run_graph(source, face_picture, model, settings(model)))
    assert [label for label in found if label.startswith("source/")] == [f"source/{s}" for s in [*CLIP, "smooth"]]
    assert [label for label in found if label.startswith("target/")] == [f"target/{s}" for s in [*CLIP, "rehearse"]]
    assert list(found)[-4:] == ["match", "apply", "synthesize", "encode"]
    fed = {"identity": "target/decompose", "pose": "source/smooth", "rehearsal": "target/rehearse"}
    assert found["match"].inputs == {name: found[label] for name, label in fed.items()}
    assert found["apply"].inputs == {**found["match"].inputs, "asked": found["match"]}
    assert found["encode"].inputs["source"] == FileInput(source), "the sound is the source's"


def test_what_is_asked_for_is_not_found_again_for_codes_that_are_drawn_or_normalised_otherwise(
    model: Model, source: Path, face_picture: Path
) -> None:
    before = nodes(run_graph(source, face_picture, model, settings(model)))
    for changed in ("refine.shrink=0.5", "decompose.normalisation=frame"):
        after = nodes(run_graph(source, face_picture, model, settings(model, sets=(changed,))))
        assert after["match"].key == before["match"].key and after["apply"].key != before["apply"].key
    after = nodes(run_graph(source, face_picture, model, settings(model, sets=("smooth.seconds=0.3",))))
    assert after["match"].key != before["match"].key


def test_what_is_quick_to_fail_is_made_first(model: Model, source: Path, face_picture: Path, tmp_path: Path) -> None:
    assert next(iter(nodes(run_graph(source, face_picture, model, settings(model))))) == "target/track"
    assert next(iter(nodes(apply_graph(tmp_path / "pose.npz", face_picture, model, settings(model))))) == "pose/load"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flags": {"apply": {"gain": 1.5}}}, TAIL),
        ({"flags": {"apply": {"layers": (0, 1)}}}, TAIL),
        ({"flags": {"smooth": {"seconds": 0.2}}}, {"source/smooth", "match"} | TAIL),
        ({"flags": {"encode": {"size": 64}}}, {"encode"}),
        (
            {"preset": "best"},
            {f"{role}/{stage}" for role in ("source", "target") for stage in ("invert", "decompose")}
            | {"source/smooth", "target/rehearse", "match"}
            | TAIL,
        ),
        (
            {"flags": {"align": {"on_missing_face": "ignore"}}},
            {f"{role}/{stage}" for role in ("source", "target") for stage in CLIP[1:]}
            | {"source/smooth", "target/rehearse", "match"}
            | TAIL,
        ),
    ],
    ids=["gain", "layers", "smoothing", "size", "preset", "missing face"],
)
def test_setting_changes_its_stage_and_what_depends_on_it(
    model: Model, source: Path, face_picture: Path, options: Mapping[str, Any], expected: set[str]
) -> None:
    assert changed(model, source, face_picture, **options) == expected


def test_keys_do_not_depend_on_where_files_and_models_are(
    model: Model, source: Path, face_picture: Path, tmp_path: Path
) -> None:
    here = nodes(run_graph(source, face_picture, model, settings(model)))
    moved = open_model(str(shutil.copytree(model.folder, tmp_path / "moved")))
    there = nodes(
        run_graph(
            Path(shutil.copy(source, tmp_path / "a.mp4")),
            Path(shutil.copy(face_picture, tmp_path / "b.jpg")),
            moved,
            settings(moved),
        )
    )
    assert {label: node.key for label, node in here.items()} == {label: node.key for label, node in there.items()}


def test_another_model_changes_every_code_but_not_the_tracks(model: Model, source: Path, face_picture: Path) -> None:
    other = replace(model, card=replace(model.card, digest="0" * 64))
    before = nodes(run_graph(source, face_picture, model, settings(model)))
    after = nodes(run_graph(source, face_picture, other, settings(other)))
    same = {label for label in before if before[label].key == after[label].key}
    assert same == {"source/track", "target/track", "source/align", "target/align"}


def test_clip_is_the_same_work_as_source_and_as_target(model: Model, source: Path) -> None:
    a, b = (clip_nodes(role, source, model, settings(model)) for role in ("source", "target"))
    assert {name: node.key for name, node in a.items()} == {name: node.key for name, node in b.items()}


def test_still_and_single_frame_are_no_source(
    model: Model, face_picture: Path, face_frames: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match="still picture"):
        pose_nodes(face_picture, model, settings(model))
    with pytest.raises(MediaError, match="single frame"):
        pose_nodes(write_clip(tmp_path / "one.mp4", face_frames[:1]), model, settings(model))


def test_every_section_has_a_stage_of_its_name(model: Model, source: Path, face_picture: Path) -> None:
    chosen = settings(model, flags={"refine": {"shrink": 1.0}})
    found = {node.stage.name for node in nodes(run_graph(source, face_picture, model, chosen)).values()}
    assert set(SECTIONS) <= found


def with_card(model: Model, **entries: Any) -> Model:
    return replace(model, card=replace(model.card, **entries))


def test_card_chooses_the_layers_that_move_and_a_flag_overrules_it(model: Model) -> None:
    tuned = with_card(model, measured={"motion_layers": [0, 1]})
    plain = {"rehearse": False}
    assert settings(tuned, flags={"apply": plain})["apply"].layers == (0, 1)
    assert settings(tuned, flags={"apply": plain | {"layers": (2,)}})["apply"].layers == (2,)
    assert settings(model, flags={"apply": plain})["apply"].layers is None
    assert settings(tuned)["apply"].layers is None, "a target's own movements need all layers"


def test_amplitude_of_the_model_is_the_cards(model: Model) -> None:
    tuned = with_card(model, measured={"typical_pose_rms": 0.25})
    assert settings(tuned, amplitude="model")["apply"].scale == 0.25
    assert settings(tuned, amplitude="source")["apply"].scale is None
    with pytest.raises(ConfigError, match="use --amplitude source"):
        settings(model, amplitude="model")


@pytest.mark.parametrize("measured", [{"motion_layers": 5}, {"motion_layers": ["a"]}, {"motion_layers": "012"}])
def test_garbled_card_is_an_error_of_the_model(model: Model, measured: Mapping[str, Any]) -> None:
    with pytest.raises(ModelError, match="card cannot be used"):
        settings(with_card(model, measured=measured))


@pytest.mark.parametrize("resolution", [None, True, 0, 4, 17, 1 << 30, 16.0, "16"])
def test_card_without_a_usable_resolution_is_refused_before_anything_is_cropped(
    model: Model, resolution: object
) -> None:
    with pytest.raises(ModelError, match="resolution"):
        settings(with_card(model, config={**model.card.config, "resolution": resolution}))


@pytest.mark.parametrize("layers", [(6,), (0, 99), (-1,)])
def test_layers_beyond_the_model_are_refused_before_anything_runs(model: Model, layers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="within 0 to 5"):
        settings(model, flags={"apply": {"layers": layers}})


def test_layers_of_the_card_are_those_of_the_generator(model: Model) -> None:
    from reanimate.checkpoints.bundle import load_bundle

    num_ws = load_bundle(str(model.folder)).generator.num_ws
    everything = tuple(range(num_ws))
    assert settings(model, flags={"apply": {"layers": everything}})["apply"].layers == everything
    with pytest.raises(ConfigError):
        settings(model, flags={"apply": {"layers": (num_ws,)}})


def test_preset_is_below_single_settings(model: Model) -> None:
    chosen = settings(model, "paper", sets=("invert.steps=3", "apply.layers=[0, 2]"))
    assert (chosen["invert"].steps, chosen["invert"].first_steps, chosen["invert"].init) == (3, 1000, "zeros")
    assert chosen["apply"].layers == (0, 2)


def test_features_of_a_models_own_are_its_default_loss(model: Model) -> None:
    card = replace(model.card, files={**model.card.files, "features.safetensors": "0" * 64})
    own = Model(model.folder, card)
    assert settings(model)["invert"].loss == "multiscale"
    assert settings(own)["invert"].loss == settings(own, "best")["invert"].loss == "features"
    assert settings(own, "paper")["invert"].loss == "multiscale"  # the paper's passes are left as they are
    assert settings(own, sets=("invert.loss=multiscale",))["invert"].loss == "multiscale"
    with pytest.raises(ConfigError, match="has no features of its own"):
        settings(model, sets=("invert.loss=features",))
