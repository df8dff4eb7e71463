"""Light that changes is taken out; a steady shot is left to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from reanimate.faces.light import LEAST, MOST, brightness, even_light, lit


def face(level: float, mouth: int | None = None) -> np.ndarray:
    picture = np.full((64, 64, 3), round(level), np.uint8)
    if mouth is not None:
        picture[44:52, 24:40] = mouth
    return picture


def test_an_open_mouth_and_the_background_are_no_light() -> None:
    picture = face(120, mouth=0)
    picture[:, :10] = 255
    assert brightness(picture) == 120


def test_modulated_light_is_evened_within_each_shot() -> None:
    levels = np.array([100, 120, 80, 100, 200, 240, 160.0])
    gains = even_light(levels, np.arange(7) == 4)
    evened = [brightness(lit(face(level), gain)) for level, gain in zip(levels, gains, strict=True)]
    assert evened == pytest.approx([100] * 4 + [200] * 3, abs=1)


def test_steady_shot_is_left_alone() -> None:
    assert (even_light(np.array([100, 102, 98.0]), np.zeros(3, bool)) == 1).all()
    picture = face(100)
    assert lit(picture, 1.0) is picture


def test_frames_that_are_black_or_unknown_are_left_alone_and_no_factor_is_wild() -> None:
    gains = even_light(np.array([100, 100, 100, 0, np.nan, 1, 1000.0]), np.zeros(7, bool))
    assert gains[3] == gains[4] == 1
    assert (gains[5], gains[6]) == (MOST, LEAST)
