"""inpaint and upscale as a user calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, Done, tiny_generator

from pipeline.commands.restoring import restoring
from reanimate.checkpoints.bundle import save_bundle
from reanimate.faces.still import largest_face
from reanimate.images import SYNTHETIC, read_image, resize, write_image
from reanimate.inversion.invert import PRESETS
from reanimate.types import UInt8

Call = Callable[..., Done]


@pytest.fixture
def model(tiny_bundle: Path) -> list[object]:
    return ["--model", tiny_bundle, "--steps", 3]


@pytest.fixture
def mask(tmp_path: Path, face_picture: Path) -> Path:
    """White over the middle of the face."""
    picture = read_image(face_picture)
    x, y = largest_face(picture, face_picture).mean(0).astype(int)
    marked = np.zeros_like(picture)
    marked[y : y + 20, x - 15 : x + 15] = 255
    write_image(tmp_path / "mask.png", marked)
    return tmp_path / "mask.png"


def hole_of(mask: Path) -> np.ndarray:
    return read_image(mask)[:, :, 0] > 0


def test_inpaint_changes_the_hole_alone(call: Call, face_picture: Path, mask: Path, model: list[object]) -> None:
    done = call("inpaint", face_picture, "--mask", mask, "-o", "whole.png", *model)
    assert done.out == "whole.png\n"
    before, after = read_image(face_picture), read_image("whole.png")
    np.testing.assert_array_equal(after[~hole_of(mask)], before[~hole_of(mask)])
    assert (after != before).any()
    assert SYNTHETIC.encode() in Path("whole.png").read_bytes()


def test_box_is_a_mask(call: Call, face_picture: Path, mask: Path, model: list[object]) -> None:
    rows, columns = (np.flatnonzero(hole_of(mask).any(axis)) for axis in (1, 0))
    box = f"{columns[0]},{rows[0]},{len(columns)},{len(rows)}"
    call("inpaint", face_picture, "--mask", mask, "-o", "a.png", *model)
    call("inpaint", face_picture, "--box", box, "-o", "b.png", *model)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize("prior", ["generator", "dip", "plain"])
def test_crop_needs_no_face(call: Call, model: list[object], prior: str) -> None:
    """Cats and cars: any square is taken as it is."""
    write_image("cat.png", np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    options = [*model, "--no-align", "--prior", prior]
    call("inpaint", "cat.png", "--box", "4,6,10,8", "-o", "whole.png", *options)
    before, after, hole = read_image("cat.png"), read_image("whole.png"), np.zeros((32, 32), np.bool_)
    hole[6:14, 4:14] = True
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).any()
    write_image("kitten.png", resize(before, 4, 4))
    call("upscale", "kitten.png", "--factor", 4, "-o", "large.png", *options)
    assert read_image("large.png").shape == (16, 16, 3)


def test_upscale_draws_the_face_and_enlarges_the_rest(call: Call, face_picture: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", "model", tiny_generator(resolution=64), None, {}, {}, "MIT")
    picture = read_image(face_picture)
    picture = np.pad(picture, ((len(picture) // 2,) * 2, (picture.shape[1] // 2,) * 2, (0, 0)), "edge")
    side = np.linalg.norm(np.diff(largest_face(picture, face_picture)[:2], axis=0))
    scale = 34 / side  # of which the model draws 64
    small = resize(picture, round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    factor = round(1 / scale)
    write_image("small.png", small)
    call("upscale", "small.png", "--factor", factor, "-o", "large.png", "--model", "model", "--steps", 3)
    plain, made = resize(small, small.shape[1] * factor, small.shape[0] * factor), read_image("large.png")
    assert made.shape == plain.shape
    changed = (made != plain).any(2)
    assert 0.05 < changed.mean() < 0.95
    quad = largest_face(plain, "large.png")
    beside = np.ones(plain.shape[:2], np.bool_)
    beside[slice(*_span(quad[:, 1])), slice(*_span(quad[:, 0]))] = False
    np.testing.assert_array_equal(made[beside], plain[beside])


def _span(points: np.ndarray) -> tuple[int, int]:
    """The px that a quad covers, and what its edge fades over."""
    return max(0, int(points.min()) - 8), int(points.max()) + 8


def test_factor_that_is_no_power_of_two_is_taken(call: Call, model: list[object]) -> None:
    write_image("small.png", np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8))
    for factor in (2, 3, 5):
        call("upscale", "small.png", "--factor", factor, "-o", "large.png", "--no-align", *model)
        assert read_image("large.png").shape == (6 * factor, 6 * factor, 3)


def test_settings_of_the_released_code_can_be_had(
    call: Call, face_picture: Path, mask: Path, model: list[object]
) -> None:
    released = [*model, "--as-released", "--loss", "multiscale"]
    call("inpaint", face_picture, "--mask", mask, "-o", "whole.png", *released)
    by_hand = ["--preset", "paper", "--optimiser", "sgd", "--lr", 0.01, "--loss", "multiscale", "--init", "zeros"]
    call("inpaint", face_picture, "--mask", mask, "-o", "by_hand.png", *model, *by_hand)
    assert Path("whole.png").read_bytes() == Path("by_hand.png").read_bytes()


def test_less_is_known_so_steps_are_smaller_unless_asked_for() -> None:
    fast, paper = PRESETS["fast"], PRESETS["paper"]
    for task in ("inpaint", "upscale"):
        assert (restoring(fast, "fast", task).optimiser, restoring(fast, "fast", task).lr) == ("adam", 0.05)
        assert restoring(fast, "fast", task).softness == 0
    assert restoring(fast, "fast", "reconstruct") == fast
    asked = replace(fast, lr=0.3)
    assert restoring(asked, "fast", "inpaint") == asked
    released = restoring(paper, "paper", "inpaint")
    assert (released.optimiser, released.lr, released.init, released.first_steps) == ("sgd", 0.01, "zeros", 1000)
    assert restoring(paper, "paper", "upscale") == paper


STILLS = SHARED / "stills"


@pytest.mark.skipif(not STILLS.is_dir(), reason="shared/stills is absent")
@pytest.mark.parametrize(("name", "box"), [("astronaut.png", (190, 140, 60, 40)), ("mona_lisa.jpg", None)])
def test_full_picture_outside_the_hole_stays_as_it_was(call: Call, name: str, box: tuple[int, ...] | None) -> None:
    picture = read_image(STILLS / name)
    if box is None:
        quad = largest_face(picture, name)
        x, y = quad.mean(0).astype(int)
        side = int(np.ptp(quad[:, 0]) / 6)
        box = (x - side, y, 2 * side, side)
    call("inpaint", STILLS / name, "--box", ",".join(map(str, box)), "-o", "whole.png", "--steps", 3)
    hole = np.zeros(picture.shape[:2], np.bool_)
    hole[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    made: UInt8 = read_image("whole.png")
    np.testing.assert_array_equal(made[~hole], picture[~hole])
    assert (made[hole] != picture[hole]).mean() > 0.5
