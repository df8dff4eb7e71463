"""Where faces are in a picture. The only place that knows dlib's detector and landmark predictor."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reanimate.errors import ReanimateError
from reanimate.images import resize
from reanimate.types import Float32, UInt8

MIN_SCORE = 0.25  # detector margin; weak real faces score 0.3 to 0.5, an alpaca at double size scores 0.19
NEAR_SCORE = -0.2  # a face that was here a frame ago needs less proof
SEARCH_SIDES = (640, 1280, 2560)  # px of the longer side, tried in turn until a face is found
MAX_ENLARGEMENT = 4.0
NEAR_FACE_SIDE = 110  # px; the detector's own window is 80, so that a face a quarter smaller is still seen
NEAR_MARGIN = 0.75  # of the last box, on each side
CHIP_PADDING = 0.25  # around the face, as dlib's descriptor expects it
FIRST_INNER = 17  # landmark; those before outline the jaw
BOX_WIDTH, BOX_DOWN = 3.34, 0.07  # the detector's boxes on average, in RMS distances of inner landmarks from their mean
BOXES = ((0, 0, 1), (0.04, 0, 1), (-0.04, 0, 1), (0, 0.04, 1), (0, -0.04, 1), (0, 0, 1.06), (0, 0, 0.94))  # x, y, width
SUBPIXELS = 64  # dlib takes whole numbers; landmarks of small crops are enlarged by this first


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face."""

    box: tuple[float, float, float, float]
    """left, top, right, bottom in px of the picture."""
    score: float
    """The detector's margin: above 1 is sure, 0.3 is weak."""
    landmarks: Float32
    """[68, 2] px, in the order of the 300-W scheme."""

    @property
    def area(self) -> float:
        """px²."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class Detector(Protocol):
    """What finds faces. Pictures are uint8 RGB [H, W, 3]; results are in their px."""

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Face]:
        """Every face, the surest first; empty if there is none. Not `thorough` skips the slow search for tiny faces."""

    def detect_near(self, picture: UInt8, last: Face) -> Face | None:
        """The face that `last` has become, looked for only around it; None if it is not there."""


def model_file(name: str) -> Path:
    """Path of one of dlib's networks in the face_recognition_models package.

    The package is found, not imported: its `__init__` needs pkg_resources, which is gone from current setuptools.

    Raises:
        ReanimateError: the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise ReanimateError(f"{name} is missing; install it with: pip install face_recognition_models")


@cache
def _dlib_parts() -> tuple[Any, Any, Any]:
    try:
        import dlib
    except ImportError as error:
        raise ReanimateError("dlib is missing; install it with: pip install dlib-bin") from error
    predictor = dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat")))
    return dlib, dlib.get_frontal_face_detector(), predictor


def chip_quads(landmarks: Float32, side: int) -> Float32:
    """Where dlib cuts the chip [side, side] that it describes a face by: corners [N, 4, 2] px for landmarks [N, 68, 2].

    Corners are in the order of a quad's. They are the centres of the chip's outermost pixels, not their edges.
    """
    dlib, _, _ = _dlib_parts()
    quads = np.empty((len(landmarks), 4, 2), np.float32)
    for i, points in enumerate(landmarks):
        whole = [dlib.point(round(float(x) * SUBPIXELS), round(float(y) * SUBPIXELS)) for x, y in points]
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), whole)
        chip = dlib.get_face_chip_details(shape, side, CHIP_PADDING)
        centre = np.array([chip.rect.left() + chip.rect.right(), chip.rect.top() + chip.rect.bottom()]) / 2
        half = (chip.rect.right() - chip.rect.left()) / 2
        x = np.array([np.cos(chip.angle), np.sin(chip.angle)]) * half
        y = np.array([-x[1], x[0]])
        quads[i] = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y]) / SUBPIXELS
    return quads


class DlibDetector:
    """dlib's HOG face detector and its 68-point landmark predictor, at as few pixels as a face needs."""

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Face]:
        """See Detector."""
        for scaled, scale in _search_scales(picture, SEARCH_SIDES if thorough else SEARCH_SIDES[:2]):
            found = self._run(picture, scaled, scale, (0.0, 0.0), MIN_SCORE)
            if found:
                return found
        return []

    def detect_near(self, picture: UInt8, last: Face) -> Face | None:
        """See Detector."""
        left, top, right, bottom = last.box
        margin = NEAR_MARGIN * (right - left)
        x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
        x1, y1 = min(picture.shape[1], int(right + margin) + 1), min(picture.shape[0], int(bottom + margin) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        window = np.ascontiguousarray(picture[y0:y1, x0:x1])
        scale = min(MAX_ENLARGEMENT, NEAR_FACE_SIDE / max(right - left, 1.0))
        scaled = resize(window, max(1, round(window.shape[1] * scale)), max(1, round(window.shape[0] * scale)))
        found = self._run(picture, scaled, scale, (x0, y0), NEAR_SCORE)
        return max(found, key=lambda face: _overlap(face.box, last.box), default=None)

    def _run(
        self, picture: UInt8, scaled: UInt8, scale: float, origin: tuple[float, float], threshold: float
    ) -> list[Face]:
        _, detector, _ = _dlib_parts()
        boxes, scores, _ = detector.run(scaled, 0, threshold)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            edges = (box.left(), box.top(), box.right() + 1, box.bottom() + 1)
            left, top, right, bottom = (edge / scale + origin[i % 2] for i, edge in enumerate(edges))
            first = _predict(picture, (left + right) / 2, (top + bottom) / 2, right - left)
            faces.append(Face((left, top, right, bottom), float(score), _steady(picture, first)))
        return sorted(faces, key=lambda face: -face.score)


def _predict(picture: UInt8, x: float, y: float, width: float) -> Float32:
    """[68, 2] landmarks of a face in a square box about (x, y)."""
    dlib, _, predictor = _dlib_parts()
    edges = (round(edge) for edge in (x - width / 2, y - width / 2, x + width / 2, y + width / 2))
    return np.array([(point.x, point.y) for point in predictor(picture, dlib.rectangle(*edges)).parts()], np.float32)


def _steady(picture: UInt8, landmarks: Float32) -> Float32:
    """Landmarks [68, 2] that hardly depend on where the detector's box was.

    Boxes lie on the detector's own grid and move by some px from frame to frame, and a prediction follows its box. So
    the mean is taken of predictions in boxes around where landmarks say that the face is.
    """
    inner = landmarks[FIRST_INNER:]
    middle = inner.mean(0)
    size = float(np.sqrt(np.square(inner - middle).sum(1).mean()))
    width = BOX_WIDTH * size
    x, y = float(middle[0]), float(middle[1]) + BOX_DOWN * size
    found = [_predict(picture, x + dx * width, y + dy * width, share * width) for dx, dy, share in BOXES]
    steady: Float32 = np.mean(found, 0, dtype=np.float32)
    return steady


def _search_scales(picture: UInt8, sides: tuple[int, ...]) -> Iterator[tuple[UInt8, float]]:
    longer = max(picture.shape[:2])
    last = 0.0
    for side in sides:
        scale = min(side / longer, MAX_ENLARGEMENT)
        if scale == last:
            return
        last = scale
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        yield resize(picture, *size), scale


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
