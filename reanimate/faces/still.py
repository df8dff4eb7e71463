"""The crop of a single picture."""

from __future__ import annotations

from pathlib import Path

from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import Detector, DlibDetector
from reanimate.images import resize
from reanimate.types import UInt8

MIN_SIDE = 16  # px


def aligned_crop(picture: UInt8, resolution: int, where: Path | str, detector: Detector | None = None) -> UInt8:
    """The largest face of a picture [H, W, 3] as [R, R, 3].

    Raises:
        FaceNotFound: there is none; `where` names the picture in the message.
    """
    faces = (detector or DlibDetector()).detect(picture)
    if not faces:
        raise FaceNotFound([0], 1, "give a picture of a human face from the front, or a crop with --no-align", where)
    largest = max(faces, key=lambda face: face.area)
    return crop(picture, quad_from_landmarks(largest.landmarks), resolution)


def square_crop(picture: UInt8, resolution: int, where: Path | str) -> UInt8:
    """A picture that is a crop already, brought to [R, R, 3].

    Raises:
        MediaError: it is not square, or too small to be anything.
    """
    height, width = picture.shape[:2]
    if height != width:
        raise MediaError(where, f"is {width}x{height} px; a crop must be square")
    if height < MIN_SIDE:
        raise MediaError(where, f"is {width}x{height} px; a crop must have at least {MIN_SIDE}x{MIN_SIDE}")
    return picture if height == resolution else resize(picture, resolution, resolution)
