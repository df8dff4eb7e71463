"""The target's own movements: what is rehearsed is seen in the pictures that its codes make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artefacts import load_identity, load_rehearsal, open_frames
from pipeline.graph import clip_nodes, moving_inputs, open_model, settings
from pipeline.runner import execute
from pipeline.stage import Node
from pipeline.stages import rehearse
from pipeline.stages.align import CROPS
from pipeline.store import Store
from pipeline.tuned import tuned_generator
from reanimate.calibration import look_at
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError
from reanimate.images import read_image, to_pictures, to_tensor, write_image
from reanimate.inversion.losses import make_loss
from reanimate.types import ATTRIBUTES


def rehearsed(cache: Path, target: Path, model: str, *sets: str) -> tuple[Any, Any, Path]:
    """The rehearsal of a target, its identity, and where the rehearsal is kept."""
    opened, store = open_model(model), Store(cache)
    chosen = settings(opened, sets=sets)
    identity = clip_nodes("target", target, opened, chosen)["decompose"]
    node = moving_inputs(target, identity, opened, chosen)["rehearsal"]
    assert isinstance(node, Node)
    made = execute([node, identity], store)
    return load_rehearsal(made[node.label]), load_identity(made[identity.label]), made[node.label]


def test_rehearsed_poses_are_seen_in_what_their_codes_draw(face_picture: Path, tmp_path: Path) -> None:
    sets = ("invert.first_steps=60", "rehearse.passes=100")
    known, identity, folder = rehearsed(tmp_path / "cache", face_picture, "faces", *sets)
    generator = tuned_generator("faces", "cpu", folder)
    codes = torch.from_numpy(np.concatenate([identity.ws[None], identity.ws + known.offsets]))
    with torch.no_grad():
        seen = look_at(to_pictures(torch.cat([generator.synthesis(c) for c in codes.split(8)]))).expression
    for name, least in (("yaw", 0.8), ("pitch", 0.7), ("mouth", 0.7)):
        i = ATTRIBUTES.index(name)
        mine = known.attribute == i
        asked, got = known.shown[mine] - known.rest[i], seen[1:][mine, i] - seen[0, i]
        assert np.corrcoef(asked, got)[0, 1] > 0.9, name
        assert least < float(asked @ got / (asked @ asked)) < 1.5, f"{name} is named by what is seen of it"
    closing = np.flatnonzero((known.attribute == ATTRIBUTES.index("eyes")) & (known.shown < 1))
    closing = closing[np.argsort(known.shown[closing])]
    moved = np.square(known.offsets[closing]).mean((1, 2))
    assert (np.diff(moved) < 0).all(), "closing eyes moves codes farther the more they close"


def test_video_rehearses_its_calmest_frame_and_a_model_without_an_encoder_too(
    face_video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    sets = ("invert.first_steps=1", "invert.steps=0", "rehearse.passes=2", "invert.init=mean")
    known, identity, _ = rehearsed(tmp_path / "cache", face_video, str(tiny_bundle), *sets)
    assert known.offsets.shape == (len(known.attribute), *identity.ws.shape) and np.isfinite(known.offsets).all()
    assert set(known.attribute.tolist()) == set(range(len(ATTRIBUTES)))
    assert known.rest[0] == known.rest[1] == 0 and known.rest[3] == 1


def test_without_passes_poses_are_what_the_encoder_says_and_the_model_is_not_tuned(
    face_picture: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    sets = ("invert.first_steps=1", "rehearse.passes=0")
    known, identity, folder = rehearsed(tmp_path / "cache", face_picture, str(tiny_bundle), *sets)
    assert known.offsets.shape == (len(known.attribute), *identity.ws.shape) and known.offsets.any()
    tuned, before = tuned_generator(str(tiny_bundle), "cpu", folder), load_bundle(tiny_bundle).generator
    ws = torch.from_numpy(identity.ws[None])
    with torch.no_grad():
        assert torch.equal(tuned.synthesis(ws), before.synthesis(ws))


def test_tuned_model_draws_the_target_more_like_itself(face_picture: Path, tmp_path: Path) -> None:
    strange, picture = tmp_path / "strange.png", read_image(face_picture).astype(np.float32)
    rows, columns = np.indices(picture.shape[:2]) * 24 // picture.shape[0]
    picture += np.where((rows + columns) % 2, 12, -12)[..., None]  # no code draws chequered people
    write_image(strange, picture.clip(0, 255).astype(np.uint8))
    sets = ("invert.first_steps=60", "rehearse.passes=120")
    _, identity, folder = rehearsed(tmp_path / "cache", strange, "faces", *sets)
    opened, store = open_model("faces"), Store(tmp_path / "cache")
    made = execute([*clip_nodes("target", strange, opened, settings(opened)).values()][:2], store)
    target = to_tensor(np.array(open_frames(made["target/align"] / CROPS)))
    bundle = load_bundle("faces")
    loss, ws = make_loss("features", own=bundle.features), torch.from_numpy(identity.ws[None])

    def lost(generator: Any) -> float:
        with torch.no_grad():
            return float(loss(generator.synthesis(ws), loss.prepare(target)))

    assert lost(tuned_generator("faces", "cpu", folder)) < 0.8 * lost(bundle.generator)


@pytest.mark.parametrize("values", [{"passes": -1}, {"passes": 100_001}])
def test_passes_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        rehearse.RehearseParams(**values)
