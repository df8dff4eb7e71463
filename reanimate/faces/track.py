"""One face followed through the frames of a clip, and the cuts between its shots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from reanimate.faces.align import ANGLE_SIGMA, CENTRE_SIGMA, quad_from_landmarks, smooth_quads
from reanimate.faces.detect import Detector, Face
from reanimate.images import resize
from reanimate.types import Bool, FaceTrack, Float32, UInt8

THUMB = (32, 18)  # px; a cut changes the whole picture, a gesture only some of it
CUT_CHANGE = 24.0  # of 255, mean over the thumbnail; speech stays under 5, a fast pan under 15
CUT_RATIO = 3.0  # over the change a frame earlier, so that a pan that gathers speed is not a cut
THOROUGH_EVERY = 15  # frames; how often the slow search is repeated while there is no face
MAX_STEP = 0.6  # face widths from one frame to the next; a face that is farther away is someone else's
MAX_JUMP = 1.5  # the same after frames without a face
MAX_GROWTH = 1.8  # times the width last seen, or its inverse
LARGEST, LEFT, RIGHT = "largest", "left", "right"


def check_who(who: str) -> bool:
    """Whether this names a face: largest, left, right, or its number from the left, beginning with 1."""
    return who in (LARGEST, LEFT, RIGHT) or (who.isdecimal() and len(who) < 4 and int(who) > 0)


def pick(faces: list[Face], who: str) -> Face | None:
    """The face of a frame that `who` names; None if there are not so many."""
    if who == LARGEST:
        return max(faces, key=lambda face: face.area, default=None)
    ordered = from_the_left(faces)
    place = {LEFT: 0, RIGHT: len(ordered) - 1}.get(who, int(who) - 1 if who.isdecimal() else 0)
    return ordered[place] if 0 <= place < len(ordered) else None


def from_the_left(faces: list[Face]) -> list[Face]:
    """Faces in the order in which they are numbered."""
    return sorted(faces, key=lambda face: face.box[0] + face.box[2])


class Follower:
    """Finds one face in each shot and stays with it. Feed it frames in order."""

    def __init__(self, detector: Detector, who: str = LARGEST) -> None:
        """Raises ValueError: `who` names no face, see check_who."""
        if not check_who(who):
            raise ValueError(f"{who!r} names no face")
        self._detector, self._who = detector, who
        self._thumb: Float32 | None = None
        self._change = 0.0
        self._last: Face | None = None  # in this shot
        self._others: list[Face] = []  # where they were when the whole frame was last looked at, in this shot
        self._misses = 0  # frames in a row
        self.most_faces = 0
        """In one frame, of those that were looked at as a whole."""

    def feed(self, frame: UInt8) -> tuple[Face | None, bool]:
        """The face in the next frame [H, W, 3], if there is one, and whether the frame starts a new shot."""
        cut = self._is_cut(frame)
        if cut:
            self._last, self._others, self._misses = None, [], 0
        face = None
        if self._last is not None and self._misses == 0:
            face = self._detector.detect_near(frame, self._last)
            if face is not None and not self._is_same(face, self._last, MAX_STEP):
                face = None
        if face is None:
            thorough = self._misses % THOROUGH_EVERY == 0
            face = self._choose(self._detector.detect(frame, thorough=thorough))
        self._misses = 0 if face is not None else self._misses + 1
        self._last = face or self._last
        return face, cut

    def _choose(self, faces: list[Face]) -> Face | None:
        self.most_faces = max(self.most_faces, len(faces))
        if self._last is None:
            found = pick(faces, self._who)
        else:
            last = self._last
            same = [face for face in faces if self._is_same(face, last, MAX_JUMP)]
            found = min(same, key=lambda face: _gap(face, last), default=None)
        if found is not None:
            self._others = [face for face in faces if face is not found]
        return found

    def _is_same(self, face: Face, last: Face, reach: float) -> bool:
        """Whether a face may be the one last seen: not too far away, not of another size, and nobody else's."""
        gap, width = _gap(face, last), last.box[2] - last.box[0]
        growth = (face.box[2] - face.box[0]) / max(width, 1e-9)
        someone = min((_gap(face, other) for other in self._others), default=np.inf)
        return gap < reach * width and 1 / MAX_GROWTH < growth < MAX_GROWTH and gap <= someone

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


def follow(frames: Iterable[UInt8], detector: Detector, who: str = LARGEST) -> Iterator[tuple[Face | None, bool]]:
    """For each frame, the followed face or None, and whether a new shot begins."""
    follower = Follower(detector, who)
    for frame in frames:
        yield follower.feed(frame)


def make_track(
    found: list[tuple[Face | None, bool]],
    frame_rate: Fraction,
    centre_seconds: float = CENTRE_SIGMA,
    roll_seconds: float = ANGLE_SIGMA,
) -> FaceTrack:
    """What `follow` found as arrays, with quads smoothed over time (see align.smooth_quads).

    Raises:
        ValueError: no frame has a face.
    """
    detected: Bool = np.array([face is not None for face, _ in found])
    cuts: Bool = np.array([cut for _, cut in found])
    landmarks: Float32 = np.full((len(found), 68, 2), np.nan, np.float32)
    for i, (face, _) in enumerate(found):
        if face is not None:
            landmarks[i] = face.landmarks
    raw = quad_from_landmarks(landmarks)
    quads = smooth_quads(raw, detected, cuts, frame_rate, centre_seconds, roll_seconds)
    return FaceTrack(detected, landmarks, quads, cuts)


def _gap(a: Face, b: Face) -> float:
    middle_a = np.array([a.box[0] + a.box[2], a.box[1] + a.box[3]]) / 2
    middle_b = np.array([b.box[0] + b.box[2], b.box[1] + b.box[3]]) / 2
    return float(np.linalg.norm(middle_a - middle_b))
