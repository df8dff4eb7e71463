"""The crop of a single picture."""

from __future__ import annotations

from pathlib import Path

from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import Detector, DlibDetector
from reanimate.images import resize
from reanimate.types import Float32, UInt8

MIN_SIDE = 16  # px


def largest_face(picture: UInt8, where: Path | str, detector: Detector | None = None) -> Float32:
    """The quad [4, 2] px of the largest face of a picture [H, W, 3].

    Raises:
        FaceNotFound: there is none; `where` names the picture in the message.
    """
    faces = (detector or DlibDetector()).detect(picture)
    if not faces:
        raise FaceNotFound([0], 1, "give a picture of a human face from the front, or a crop with --no-align", where)
    return quad_from_landmarks(max(faces, key=lambda face: face.area).landmarks)


def aligned_crop(picture: UInt8, resolution: int, where: Path | str, detector: Detector | None = None) -> UInt8:
    """The largest face of a picture [H, W, 3] as [R, R, 3].

    Raises:
        FaceNotFound: there is none; `where` names the picture in the message.
    """
    return crop(picture, largest_face(picture, where, detector), resolution)


def square_crop(picture: UInt8, resolution: int, where: Path | str) -> UInt8:
    """A picture that is a crop already, brought to [R, R, 3].

    Raises:
        MediaError: it is not square, or too small to be anything.
    """
    side = check_square(picture, where)
    return picture if side == resolution else resize(picture, resolution, resolution)


def check_square(picture: UInt8, where: Path | str, min_side: int = MIN_SIDE) -> int:
    """The side, px, of a picture that is a crop already.

    Raises:
        MediaError: it is not square, or too small to be anything.
    """
    height, width = picture.shape[:2]
    if height != width:
        raise MediaError(where, f"is {width}x{height} px; a crop must be square")
    if height < min_side:
        raise MediaError(where, f"is {width}x{height} px; a crop must have at least {min_side}x{min_side}")
    return int(height)
