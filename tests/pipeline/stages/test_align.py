"""Frames without a face: an error, filled, or passed over, as asked."""

from __future__ import annotations

import pytest

from pipeline.stages.align import _check_missing
from reanimate.errors import FaceNotFound


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
