"""Measures of a result. Nothing here is used to make one."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reanimate.errors import ReanimateError
from reanimate.faces.detect import Detector, DlibDetector, model_file
from reanimate.images import resize
from reanimate.types import Float32, UInt8

SAME_PERSON = 0.6  # the distance below which dlib's authors call two faces the same person
MEASURING_SIDE = 256  # px; smaller pictures are enlarged for the detector
_CHIP_JITTERS = 0  # the descriptor of one chip, not the mean over shaken ones


@cache
def _descriptor_network() -> tuple[Any, Any]:
    try:
        import dlib
    except ImportError as error:
        raise ReanimateError("dlib is missing; install it with: pip install dlib-bin") from error
    return dlib, dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1.dat")))


def face_descriptor(picture: UInt8, detector: Detector | None = None) -> NDArray[np.float64] | None:
    """Dlib's descriptor [128] of the surest face in a picture [H, W, 3]; None if no face is seen in it.

    Source: King 2017, "High Quality Face Recognition with Deep Metric Learning".
    """
    side = max(picture.shape[:2])
    if side < MEASURING_SIDE:
        scale = MEASURING_SIDE / side
        picture = resize(picture, round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    faces = (detector or DlibDetector()).detect(picture)
    return descriptor_at(picture, faces[0].landmarks) if faces else None


def descriptor_at(picture: UInt8, landmarks: Float32) -> NDArray[np.float64]:
    """Dlib's descriptor [128] of the face whose landmarks [68, 2] px are known."""
    dlib, network = _descriptor_network()
    left, top = (round(float(v)) for v in landmarks.min(0))
    right, bottom = (round(float(v)) for v in landmarks.max(0))
    points = [dlib.point(round(float(x)), round(float(y))) for x, y in landmarks]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
    return np.array(network.compute_face_descriptor(picture, shape, _CHIP_JITTERS))


def psnr(a: UInt8, b: UInt8) -> float:
    """Peak signal-to-noise ratio of two pictures [H, W, 3], dB."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-12)))
