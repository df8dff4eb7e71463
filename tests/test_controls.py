"""Controls from end to end, warm starts and smoothing on: what must come out because of what goes in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Done, write_clip

from pipeline.artefacts import load_latents, open_frames
from pipeline.graph import open_model, run_graph, settings
from pipeline.runner import execute
from pipeline.stage import Node
from pipeline.store import Store
from reanimate.calibration import look_at
from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import to_pictures
from reanimate.metrics import face_descriptor
from reanimate.video import frames, probe

Call = Callable[..., Done]
SMALL, WHOLE = 16, 60  # frames of the example


def moved(cache: Path, source: Path, target: Path, *sets: str) -> dict[str, Path]:
    """{label: folder} of what a run of the embedded model made."""
    model, store = open_model("faces"), Store(cache)
    goal = run_graph(source, target, model, settings(model, sets=sets))
    execute([goal], store)
    found: dict[str, Path] = {}

    def visit(node: Node) -> None:
        found[node.label] = store.folder(node)
        for made in node.inputs.values():
            if isinstance(made, Node):
                visit(made)

    visit(goal)
    return found


def shown(made: dict[str, Path]) -> np.ndarray:
    """[T, 2] yaw and mouth of a result."""
    return look_at(open_frames(made["synthesize"] / "frames.npy")).expression[:, [0, 2]]


def correlations(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [float(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(a.shape[1])]


def filmed(face_video: Path, count: int) -> np.ndarray:
    """[count, H, W, 3] of the example."""
    return np.stack(list(islice(frames(face_video, probe(face_video)), count)))


def performed(cache: Path, clip: Path, pictures: np.ndarray, target: Path) -> np.ndarray:
    """[T, 2] yaw and mouth of the target that moves as the pictures do."""
    return shown(moved(cache, write_clip(clip, np.ascontiguousarray(pictures)), target))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [SMALL, WHOLE])
def test_reversed_clip_gives_the_same_performance_reversed(
    face_video: Path, face_picture: Path, tmp_path: Path, count: int
) -> None:
    pictures, cache = filmed(face_video, count), tmp_path / "cache"
    forward = performed(cache, tmp_path / "forward.mp4", pictures, face_picture)
    backward = performed(cache, tmp_path / "backward.mp4", pictures[::-1], face_picture)
    assert min(correlations(forward, backward[::-1])) >= 0.98


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_doubled_clip_gives_the_same_performance_twice(face_video: Path, face_picture: Path, tmp_path: Path) -> None:
    """Filters reach half a second over the seam, which is no cut: the clip is long enough for them."""
    pictures, cache = filmed(face_video, WHOLE), tmp_path / "cache"
    once = performed(cache, tmp_path / "once.mp4", pictures, face_picture)
    twice = performed(cache, tmp_path / "twice.mp4", np.concatenate([pictures, pictures]), face_picture)
    for half in (twice[:WHOLE], twice[WHOLE:]):
        assert min(correlations(once, half)) >= 0.98


@pytest.mark.parametrize("count", [SMALL, pytest.param(WHOLE, marks=pytest.mark.slow)])
def test_source_that_is_its_own_target_is_reconstructed(
    face_video: Path, face_frames: np.ndarray, tmp_path: Path, count: int
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", filmed(face_video, count))
    made = moved(tmp_path / "cache", clip, clip)
    crops = open_frames(made["source/align"] / "crops.npy")
    with torch.no_grad():
        codes = torch.from_numpy(load_latents(made["source/invert"]).ws)
        rebuilt = to_pictures(load_bundle("faces").generator.synthesis(codes))
    result = open_frames(made["synthesize"] / "frames.npy")

    def distance(pictures: np.ndarray) -> float:
        seen = [(face_descriptor(a), face_descriptor(b)) for a, b in zip(crops[::4], pictures[::4], strict=True)]
        return float(np.mean([np.linalg.norm(a - b) for a, b in seen if a is not None and b is not None]))

    assert distance(result) <= distance(rebuilt) + 0.03
