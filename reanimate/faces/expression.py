"""What a face does, from its landmarks: where the head points, and how far mouth and eyes are open.

Head pose is the rotation under which a generic head shows its rigid points, eye corners and nose, where the landmarks
are. Lips, brows, chin and the outline of the jaw are left out: they move with expression, or slide along the head as it
turns. The camera is one that looks straight at the face, so that a face means the same in a frame and in its crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reanimate.types import Float32

Float64 = NDArray[np.float64]

RIGID = (36, 39, 42, 45, 27, 28, 29, 30, 31, 32, 33, 34, 35)
EYE_SPAN = 90.0  # mm between the outer corners of the eyes, the generic head's
# of an adult head, rounded from common anthropometric means; x to the right of the picture, y down, z into the head
_HEAD = np.array(
    [
        *[(-45, 0, 0), (-17, 1, -9), (17, 1, -9), (45, 0, 0)],  # corners of the eyes
        *[(0, -3, -20), (0, 10, -27), (0, 23, -35), (0, 36, -42)],  # bridge of the nose to its tip
        *[(-14, 47, -22), (-7, 50, -27), (0, 52, -29), (7, 50, -27), (14, 47, -22)],  # nostrils
    ],
    float,
)
_DISTANCE = 1000.0  # mm from the camera to the head, as in a portrait
_CAMERA = np.diag([_DISTANCE, _DISTANCE, 1.0])  # one px is one mm at that distance
ROUNDS = 3  # of pose and size in turn


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """Curves over time, each [T], NaN where there are no landmarks."""

    yaw: Float64
    """Degrees; positive when the nose turns to the right of the picture."""
    pitch: Float64
    """Degrees; positive when the nose turns up."""
    roll: Float64
    """Degrees; positive when the head tilts clockwise in the picture. Yaw and pitch are those of the head upright."""
    mouth: Float64
    """Gap between the inner lips in eye spans: the distance between the outer corners of the eyes seen from the front.
    0 is closed, a wide open mouth is 0.5."""
    eyes: Float64
    """Height over width of the eyes, the mean of both; open eyes are about 0.3, closed ones below 0.15.

    Source: Soukupová & Čech 2016, "Real-Time Eye Blink Detection using Facial Landmarks".
    """
    smile: Float64
    """Width of the mouth in eye spans; about 0.55 at rest."""


def express(landmarks: Float32) -> Expression:
    """The curves of landmarks [T, 68, 2] px; the size of the face and its place in the picture do not matter."""
    points = landmarks.astype(np.float64)
    known = np.isfinite(points).all((1, 2))
    pose = np.full((len(points), 4), np.nan)
    for t in np.flatnonzero(known):
        pose[t] = _pose(points[t])
    yaw, pitch, roll, span = pose.T

    def apart(a: int, b: int) -> Float64:
        distance: Float64 = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
        return distance

    heights = apart(37, 41) + apart(38, 40), apart(43, 47) + apart(44, 46)
    widths = apart(36, 39), apart(42, 45)
    return Expression(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        mouth=(apart(61, 67) + apart(62, 66) + apart(63, 65)) / 3 / span,
        eyes=sum(h / (2 * np.maximum(w, 1e-9)) for h, w in zip(heights, widths, strict=True)) / 2,
        smile=apart(48, 54) / span,
    )


def _pose(points: Float64) -> tuple[float, float, float, float]:
    """Yaw, pitch and roll in degrees, and the eye span in px, of landmarks [68, 2] px."""
    eyes = points[45] - points[36]
    tilt = float(np.arctan2(eyes[1], eyes[0]))
    upright = _turn(-tilt)
    rigid = points[list(RIGID)]
    flat = (rigid - rigid.mean(0)) @ upright[:2, :2].T
    middle = _HEAD.mean(0)
    scale = float(np.sqrt(np.square(flat).sum() / np.square(_HEAD - middle)[:, :2].sum()))
    # from the front, always: a start from the frame before could carry a mirrored solution along
    turned: Any = np.zeros(3)
    shift: Any = np.array([-middle[0], -middle[1], _DISTANCE - middle[2]])
    for _ in range(ROUNDS):
        view = flat / max(scale, 1e-9)
        _, turned, shift = cv2.solvePnP(_HEAD, view, _CAMERA, None, turned, shift, True, cv2.SOLVEPNP_ITERATIVE)
        # a turned head covers less of the picture than it is wide: its size is that which puts it at its distance
        scale *= _DISTANCE / float(np.ravel(shift)[2])
    rotation = upright.T @ cv2.Rodrigues(turned)[0]
    # rotation = roll · yaw · pitch, so that turning the picture changes roll alone
    yaw = np.arcsin(np.clip(rotation[2, 0], -1, 1))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll)), EYE_SPAN * scale


def _turn(angle: float) -> Float64:
    """[3, 3] clockwise in the picture by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
