"""One face followed through the frames of a clip, and the cuts between its shots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from reanimate.faces.align import quad_from_landmarks, smooth_quads
from reanimate.faces.detect import Detector, Face
from reanimate.images import resize
from reanimate.types import Bool, FaceTrack, Float32, UInt8

THUMB = (32, 18)  # px; a cut changes the whole picture, a gesture only some of it
CUT_CHANGE = 24.0  # of 255, mean over the thumbnail; speech stays under 5, a fast pan under 15
CUT_RATIO = 3.0  # over the change a frame earlier, so that a pan that gathers speed is not a cut
THOROUGH_EVERY = 15  # frames; how often the slow search is repeated while there is no face
MAX_JUMP = 1.5  # face widths from where the face was last seen in a shot; farther away it is someone else


class Follower:
    """Finds the largest face of each shot and stays with it. Feed it frames in order."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._thumb: Float32 | None = None
        self._change = 0.0
        self._last: Face | None = None  # in this shot
        self._misses = 0  # frames in a row

    def feed(self, frame: UInt8) -> tuple[Face | None, bool]:
        """The face in the next frame [H, W, 3], if there is one, and whether the frame starts a new shot."""
        cut = self._is_cut(frame)
        if cut:
            self._last, self._misses = None, 0
        face = None
        if self._last is not None and self._misses == 0:
            face = self._detector.detect_near(frame, self._last)
        if face is None:
            thorough = self._misses % THOROUGH_EVERY == 0
            face = self._choose(self._detector.detect(frame, thorough=thorough))
        self._misses = 0 if face is not None else self._misses + 1
        self._last = face or self._last
        return face, cut

    def _choose(self, faces: list[Face]) -> Face | None:
        last = self._last
        if last is None:
            return max(faces, key=lambda face: face.area, default=None)
        reach = MAX_JUMP * (last.box[2] - last.box[0])
        near = [face for face in faces if _gap(face, last) < reach]
        return min(near, key=lambda face: _gap(face, last), default=None)

    def _is_cut(self, frame: UInt8) -> bool:
        thumb = resize(frame, *THUMB).astype(np.float32)
        before, self._thumb = self._thumb, thumb
        if before is None:
            return True
        change, previous = float(np.abs(thumb - before).mean()), self._change
        cut = change > CUT_CHANGE and change > CUT_RATIO * previous
        # a cut says nothing about how restless the new shot is
        self._change = 0.0 if cut else change
        return cut


def follow(frames: Iterable[UInt8], detector: Detector) -> Iterator[tuple[Face | None, bool]]:
    """For each frame, the followed face or None, and whether a new shot begins."""
    follower = Follower(detector)
    for frame in frames:
        yield follower.feed(frame)


def make_track(found: list[tuple[Face | None, bool]], frame_rate: Fraction) -> FaceTrack:
    """What `follow` found as arrays, with quads smoothed over time.

    Raises:
        ValueError: no frame has a face.
    """
    detected: Bool = np.array([face is not None for face, _ in found])
    cuts: Bool = np.array([cut for _, cut in found])
    landmarks: Float32 = np.full((len(found), 68, 2), np.nan, np.float32)
    for i, (face, _) in enumerate(found):
        if face is not None:
            landmarks[i] = face.landmarks
    quads = smooth_quads(quad_from_landmarks(landmarks), detected, cuts, frame_rate)
    return FaceTrack(detected, landmarks, quads, cuts)


def _gap(a: Face, b: Face) -> float:
    middle_a = np.array([a.box[0] + a.box[2], a.box[1] + a.box[3]]) / 2
    middle_b = np.array([b.box[0] + b.box[2], b.box[1] + b.box[3]]) / 2
    return float(np.linalg.norm(middle_a - middle_b))
