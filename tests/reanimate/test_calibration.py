"""Calibration finds what was planted in a generator, and says nothing of faces where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate import calibration
from reanimate.calibration import (
    ATTRIBUTES,
    MEASURED,
    NATURAL,
    Seen,
    calibrate,
    carriers,
    default_steps,
    directions,
    draw,
    encoder_amplitude,
    knock_out,
    look_at,
    typical_pose_rms,
    w_avg_distance,
    workload,
)
from reanimate.checkpoints.bundle import Bundle, Card
from reanimate.faces.detect import DlibDetector
from reanimate.inversion.losses import MultiScaleLoss

CARD = Card("planted", "stylegan2", {}, "", {})
LAYERS, WIDTH, SIDE = 5, 16, 32


class Planted:
    """A dot on a ground: layer 2 moves the dot across, layer 3 down, layer 4 colours the ground; 0 and 1 are idle."""

    num_ws, w_dim, z_dim, c_dim, resolution, has_w = LAYERS, WIDTH, WIDTH, 0, SIDE, True
    w_avg = torch.zeros(WIDTH)

    def mapping(self, z: torch.Tensor, c: object = None, truncation_psi: float = 1.0, **_: object) -> torch.Tensor:
        return (truncation_psi * z).unsqueeze(1).repeat(1, LAYERS, 1)

    def synthesis(self, ws: torch.Tensor, noise_mode: str = "const") -> torch.Tensor:
        grid = torch.linspace(-1, 1, SIDE)
        x, y = ws[:, 2, 0].tanh() * 0.6, ws[:, 3, 1].tanh() * 0.6
        dot = torch.exp(-20 * ((grid - x[:, None]).square()[:, None, :] + (grid - y[:, None]).square()[:, :, None]))
        ground = 0.2 * ws[:, 4, 2].tanh() - 0.5
        picture = (dot[:, None] * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)) + ground[:, None, None, None]
        return picture.expand(-1, 3, -1, -1)


class Halving:
    """An encoder that knows the codes but gives half of every movement back."""

    def __init__(self, ws: torch.Tensor) -> None:
        self.ws = ws

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        seen = look_for_dot(((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()).expression
        codes = torch.zeros(len(pictures), LAYERS, WIDTH)
        codes[:, 2, 0] = 0.5 * torch.atanh(torch.from_numpy(seen[:, 0] / 60).clamp(-0.99, 0.99))
        codes[:, 3, 1] = 0.5 * torch.atanh(torch.from_numpy(seen[:, 1] / 60).clamp(-0.99, 0.99))
        return codes


def look_for_dot(pictures: np.ndarray, *, who: bool = False) -> Seen:
    """Yaw and pitch are the dot's place, in hundredths of half the picture; nothing else is seen."""
    red = pictures[..., 0].astype(float) - pictures[..., 1]
    grid = np.linspace(-1, 1, SIDE)
    weight = np.maximum(red.sum((1, 2)), 1e-9)
    x, y = (red.sum(1) * grid).sum(1) / weight, (red.sum(2) * grid).sum(1) / weight
    still = np.zeros(len(x))
    return Seen(np.stack([100 * x, 100 * y, still, still, still], 1), np.zeros((len(x), 128)))


def see_nothing(pictures: np.ndarray, *, who: bool = False) -> Seen:
    return Seen(np.full((len(pictures), 5), np.nan), np.full((len(pictures), 128), np.nan))


@dataclass
class Counter:
    done: int = 0

    def __call__(self, more: int) -> None:
        self.done += more


def test_knock_out_finds_the_planted_layers() -> None:
    generator = Planted()
    found = knock_out(generator, draw(generator, 24), look_for_dot, Counter())
    assert found["motion_layers"] == [2, 3]
    assert sum(found["layer_motion"]) == pytest.approx(1, abs=1e-3)
    assert found["layer_motion"][0] == found["layer_motion"][1] == 0
    assert int(np.argmax(found["layer_colour"])) == 4, "what only colours does not move"


@pytest.mark.parametrize(
    ("shares", "carrying"),
    [([0.1, 0.6, 0.3], [1, 2]), ([0.91, 0.05, 0.04], [0]), ([0.25] * 4, [0, 1, 2, 3]), ([0.0, 0.0, 1.0], [2])],
)
def test_carriers_are_the_fewest_that_reach_the_share(shares: list[float], carrying: list[int]) -> None:
    assert carriers(np.array(shares), 0.9) == carrying


def planted_codes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [N, D], attributes [N, A] that they depend on, and the true directions [A, D]."""
    rng = np.random.default_rng(seed)
    true = np.linalg.qr(rng.normal(size=(64, 5)))[0].T * np.array([[0.04], [0.06], [4.0], [6.0], [6.0]])
    expression = rng.normal(size=(count, 5)) * NATURAL
    return rng.normal(size=(count, 64)) + expression @ true, expression, true


def test_directions_are_those_that_codes_depend_on() -> None:
    codes, expression, true = planted_codes(20_000)
    np.testing.assert_allclose(directions(codes, expression) * NATURAL[:, None], true * NATURAL[:, None], atol=0.04)
    expression[::2] = np.nan
    found = directions(codes, expression)
    assert np.isfinite(found).all(), "faces that were not seen are left out"


def test_typical_rms_is_not_inflated_by_noise_in_many_dimensions() -> None:
    found, naive = [], []
    for seed in range(8):
        codes, expression, true = planted_codes(1000, seed)
        exact = float(np.sqrt(np.square(true * NATURAL[:, None]).sum() / 64))
        found.append(typical_pose_rms(codes, expression) / exact)
        naive.append(np.sqrt(np.square(directions(codes, expression) * NATURAL[:, None]).sum() / 64) / exact)
    assert np.mean(found) == pytest.approx(1, abs=0.08)
    assert np.mean(naive) > 1.2, "which is what the halves are for"


def test_encoder_that_halves_movement_has_an_amplitude_of_a_half() -> None:
    generator, moves = Planted(), torch.zeros(2, LAYERS, WIDTH)
    moves[0, 2, 0], moves[1, 3, 1] = 0.3, 0.3
    ws = 0.3 * draw(generator, 24)
    found = encoder_amplitude(generator, Halving(ws), ws, moves, look_for_dot, Counter())
    assert (found["yaw"], found["pitch"]) == pytest.approx((0.5, 0.5), abs=0.06)


def test_move_that_changes_nothing_has_no_amplitude() -> None:
    generator, moves = Planted(), torch.zeros(4, WIDTH)
    ws = draw(generator, 8)
    assert encoder_amplitude(generator, Halving(ws), ws, moves, look_for_dot, Counter())["mouth"] is None


def test_codes_of_a_perfect_encoder_have_an_amplitude_of_one() -> None:
    generator = Planted()
    ws = draw(generator, 8)
    known = iter(ws.split(8))
    found = encoder_amplitude(generator, lambda _: next(known), ws, torch.zeros(0, WIDTH), look_for_dot, Counter())
    assert found == {"codes": 1.0}


def test_stored_mean_of_w_is_checked_against_draws() -> None:
    generator = tiny_generator()
    drawn = w_avg_distance(generator)
    generator.mapping_network.w_avg.add_(3 * generator.mapping(torch.randn(512, 8))[:, 0].std())
    assert drawn < 0.2 < 1 < w_avg_distance(generator)


def test_steps_end_where_more_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that falls by two thirds until 40 passes and stays there."""

    class Falling:
        def __init__(self, *arguments: object) -> None:
            self.steps = arguments[-1].first_steps  # type: ignore[attr-defined]

        def first(self, target: torch.Tensor, on_pass: object) -> object:
            return type("Solution", (), {"loss": torch.tensor([max(3.0 ** (-self.steps / 20), 3.0**-2)])})

    monkeypatch.setattr(calibration, "Inverter", Falling)
    bundle = Bundle(CARD, tiny_generator(), None)
    assert default_steps(bundle, MultiScaleLoss(), torch.zeros(1, 3, 16, 16), Counter()) == 40


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "STEPS", (1, 2))
    monkeypatch.setattr(calibration, "_AVERAGED", 1000)


@pytest.mark.usefixtures("quickly")
def test_model_of_no_faces_is_measured_without_them() -> None:
    generator = tiny_generator()
    bundle = Bundle(CARD, generator, tiny_encoder(generator))
    found = calibrate(bundle, MultiScaleLoss(), 8, None, see_nothing, Counter())
    assert found["faces_seen"] == 0
    assert set(found) == {"faces_seen", "w_rms", "w_avg_distance", "default_steps", "default_steps_from"}


@pytest.mark.usefixtures("quickly")
def test_calibration_is_the_same_twice_and_measures_what_it_lists() -> None:
    generator = tiny_generator()
    bundle = Bundle(CARD, generator, tiny_encoder(generator))

    def look(pictures: np.ndarray, *, who: bool = False) -> Seen:
        flat = pictures.reshape(len(pictures), -1).astype(float)
        return Seen(flat[:, :5], np.tile(flat[:, :1], 128))

    counters = [Counter(), Counter()]
    found, again = (calibrate(bundle, MultiScaleLoss(), 40, None, look, counter) for counter in counters)
    assert found == again
    assert set(found) == set(MEASURED)
    assert set(found["encoder_amplitude"]) == {*ATTRIBUTES, "codes"}
    assert counters[0].done <= workload(bundle, 40)


@pytest.mark.usefixtures("quickly")
def test_generator_without_w_has_neither_layers_nor_a_mean() -> None:
    class Plain(Planted):
        has_w, num_ws = False, 1

        def mapping(self, z: torch.Tensor, c: object = None, truncation_psi: float = 1.0, **_: object) -> torch.Tensor:
            return truncation_psi * z[:, None]

        def synthesis(self, ws: torch.Tensor, noise_mode: str = "const") -> torch.Tensor:
            return super().synthesis(ws.expand(-1, LAYERS, -1))

    crops = np.zeros((6, SIDE, SIDE, 3), np.uint8)
    found = calibrate(Bundle(CARD, Plain(), None), MultiScaleLoss(), 64, crops, look_for_dot, Counter())
    assert set(found) == {
        "faces_seen", "typical_pose_rms", "typical_pose_from", "default_steps", "default_steps_from"
    }  # fmt: skip
    assert found["default_steps_from"] == "real faces"


def test_the_eye_sees_a_face_and_misses_a_blot(face_frames: np.ndarray) -> None:
    blot = np.full_like(face_frames[0], 128)
    seen = look_at(np.stack([face_frames[0], blot]), who=True)
    assert np.isfinite(seen.expression).all(1).tolist() == [True, False]
    assert np.isfinite(seen.descriptors).all(1).tolist() == [True, False]
    assert np.isnan(look_at(face_frames[:1]).descriptors).all(), "nobody asked who"


def test_a_face_that_moves_is_looked_for_where_it_was(face_frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    blot = np.full_like(face_frames[0], 128)
    frames = np.stack([*face_frames[:3], blot, face_frames[3]])
    exact, searched, detect = look_at(frames).expression, [], DlibDetector.detect

    def counted(self: DlibDetector, picture: np.ndarray) -> Any:
        searched.append(picture)
        return detect(self, picture)

    monkeypatch.setattr(DlibDetector, "detect", counted)
    near = look_at(frames, moving=True).expression
    assert len(searched) == 3, "for the first, for the one without, and after it"
    assert np.isnan(near[3]).all()
    np.testing.assert_allclose(near[:, 0], exact[:, 0], atol=2, err_msg="yaw, degrees")
    np.testing.assert_allclose(near[:, 2], exact[:, 2], atol=0.02, err_msg="mouth, eye spans")
