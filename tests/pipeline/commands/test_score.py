"""A score is low for what a model draws, and high for what it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, Done, tiny_generator

from reanimate.images import read_image, to_pictures, write_image

Call = Callable[..., Done]


@pytest.fixture
def crops(tmp_path: Path) -> list[str]:
    """A picture of the model's own, and noise."""
    generator = tiny_generator()
    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(1))
    write_image("own.png", to_pictures(generator.synthesis(generator.mapping(z)))[0])
    write_image("noise.png", np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    return ["own.png", "noise.png"]


def test_own_picture_scores_lower_than_noise(call: Call, tiny_bundle: Path, crops: list[str]) -> None:
    command = ("score", *crops, "--no-align", "--model", tiny_bundle, "--init", "mean")
    found = json.loads(call(*command, "--json").out)
    assert (found["model"], found["loss"]) == ("tiny", "multiscale")
    own, noise = found["rows"]
    assert (own["image"], noise["image"]) == tuple(crops)
    assert own["score"] < 0.25 * noise["score"]
    shown = [line.split("  ") for line in call(*command).out.splitlines()]
    assert shown == [[f"{row['score']:.4f}", f"{row['share']:.3f}", row["image"]] for row in found["rows"]]


def test_bad_picture_does_not_stop_the_others(call: Call, tiny_bundle: Path, crops: list[str]) -> None:
    command = ("score", "missing.png", crops[0], "--no-align", "--model", tiny_bundle, "--steps", 2)
    done = call(*command, code=1)
    assert "missing.png: no such file" in done.err
    assert "error: 1 of 2 pictures could not be scored" in done.err
    assert done.out.endswith("own.png\n")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared is absent")
def test_faces_score_lower_than_the_same_faces_upside_down(call: Call, tmp_path: Path) -> None:
    from reanimate.faces.still import aligned_crop

    for name in ("astronaut.png", "einstein.jpg"):
        crop = aligned_crop(read_image(SHARED / "stills" / name), 64, name)
        write_image(f"{name}.up.png", crop)
        write_image(f"{name}.down.png", crop[::-1].copy())
        command = ("score", f"{name}.up.png", f"{name}.down.png", "--no-align", "--steps", 20, "--json")
        up, down = json.loads(call(*command).out)["rows"]
        assert up["score"] < 0.9 * down["score"]
