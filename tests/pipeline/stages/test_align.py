"""Frames without a face: an error, filled, or passed over, as asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done, write_clip

from pipeline.stages.align import CROPS, _check_missing
from pipeline.streams import open_frames
from reanimate.errors import FaceNotFound
from reanimate.faces.light import brightness, lit


@pytest.mark.parametrize(
    ("missing", "num_frames", "policy", "fine"),
    [
        (0, 100, "error", True),
        (1, 100, "error", False),
        (90, 100, "interpolate", True),
        (91, 100, "interpolate", False),
        (99, 100, "ignore", True),
        (1, 2, "interpolate", False),
        (1, 3, "interpolate", True),
        (0, 1, "interpolate", True),
        (0, 1, "error", True),
        (1, 2, "ignore", True),
    ],
)
def test_policy(missing: int, num_frames: int, policy: str, fine: bool) -> None:
    frames = list(range(num_frames - missing, num_frames))
    if fine:
        _check_missing(frames, num_frames, policy, "clip.mp4")
        return
    with pytest.raises(FaceNotFound) as raised:
        _check_missing(frames, num_frames, policy, "clip.mp4")
    assert raised.value.frames == tuple(frames)
    assert "--on-missing-face" in str(raised.value)


@pytest.mark.parametrize("light", ["even", "as-filmed"])
def test_light_that_changes_is_evened_or_kept_as_asked(
    call: Callable[..., Done], face_frames: np.ndarray, face_picture: Path, quick: list[object], tmp_path: Path,
    light: str,
) -> None:  # fmt: skip
    dimmed = np.stack([lit(frame, 1.0 - 0.06 * t) for t, frame in enumerate(face_frames[:6])])
    clip = write_clip(tmp_path / "dimmed.mp4", dimmed)
    done = call("run", clip, face_picture, *quick, "--set", f"align.light={light}", "--until", "source/align")
    seen = [brightness(picture) for picture in open_frames(Path(done.out.strip()) / CROPS)]
    assert (np.ptp(seen) < 8) == (light == "even")
    assert ("light evened out" in done.err) == (light == "even")
