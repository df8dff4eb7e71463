"""Landmarks to quads, quads to crops, crops back into the picture.

Source: the alignment of FFHQ (Karras et al. 2019, "A Style-Based Generator Architecture", appendix). Differs in two
ways: the border outside the picture is mirrored without a blur, and resampling is linear over an area average.
"""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from reanimate.images import resize
from reanimate.types import Bool, Float32, UInt8, shots

CENTRE_SIGMA = 0.4  # seconds; an opening mouth moves the middle of a face, which is expression, not place
ANGLE_SIGMA = 0.4  # seconds
SIZE_SIGMA = 1.5  # seconds; an opening mouth also lengthens the face
STEADY_SIZE = 0.2  # change of size within a shot, as a share, up to which it is held at the shot's median
MAX_SUPERSAMPLING = 8
OUTPUT_SUPERSAMPLING = 2  # so that turning a picture does not blur it


def quad_from_landmarks(landmarks: Float32) -> Float32:
    """FFHQ crop corners [..., 4, 2] px for 68 landmarks [..., 68, 2] px."""
    points = landmarks.astype(np.float64)
    eye_left, eye_right = points[..., 36:42, :].mean(-2), points[..., 42:48, :].mean(-2)
    mouth = (points[..., 48, :] + points[..., 54, :]) / 2
    eyes = (eye_left + eye_right) / 2
    eye_to_eye, eye_to_mouth = eye_right - eye_left, mouth - eyes
    # the horizontal of the face: the eyes' line, steadied by the perpendicular of eyes-to-mouth
    x = eye_to_eye + np.stack([eye_to_mouth[..., 1], -eye_to_mouth[..., 0]], -1)
    x /= np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    half = np.maximum(2.0 * np.linalg.norm(eye_to_eye, axis=-1), 1.8 * np.linalg.norm(eye_to_mouth, axis=-1))
    return quad_from_pose(eyes + 0.1 * eye_to_mouth, half, np.arctan2(x[..., 1], x[..., 0]))


def quad_from_pose(centre: NDArray[np.float64], half: NDArray[np.float64], angle: NDArray[np.float64]) -> Float32:
    """Square quads [..., 4, 2] px from centre [..., 2] px, half side [...] px and roll [...] radians."""
    x = np.stack([np.cos(angle), np.sin(angle)], -1) * half[..., None]
    y = np.stack([-x[..., 1], x[..., 0]], -1)
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2).astype(np.float32)


def pose_from_quad(quads: Float32) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centre [..., 2] px, half side [...] px and roll [...] radians of square quads [..., 4, 2]."""
    quads64 = quads.astype(np.float64)
    top = quads64[..., 3, :] - quads64[..., 0, :]
    return quads64.mean(-2), np.linalg.norm(top, axis=-1) / 2, np.arctan2(top[..., 1], top[..., 0])


def in_crop(landmarks: Float32, quad: Float32, resolution: int) -> Float32:
    """Landmarks [68, 2] px of a picture in px of the crop of side `resolution` at a quad [4, 2]."""
    axes = np.column_stack([quad[3] - quad[0], quad[1] - quad[0]]).astype(np.float64) / resolution
    found: Float32 = ((landmarks - quad[0]) @ np.linalg.inv(axes).T).astype(np.float32)
    return found


def crop_around(picture: UInt8, quad: Float32, margin: float, side: int) -> UInt8:
    """The crop [side, side, 3] at a quad [4, 2] made `margin` times as wide about its middle."""
    centre, half, angle = pose_from_quad(quad)
    return crop(picture, quad_from_pose(centre, half * margin, angle), side)


def smooth_quads(
    quads: Float32,
    detected: Bool,
    cuts: Bool,
    frame_rate: Fraction,
    centre_seconds: float = CENTRE_SIGMA,
    roll_seconds: float = ANGLE_SIGMA,
) -> Float32:
    """Finite quads [T, 4, 2]: missing ones taken from their neighbours, all smoothed within each shot.

    Place and roll by Gaussians of so many seconds. The size is one for a whole shot, unless the face comes nearer or
    goes away: then it is followed slowly.

    Raises:
        ValueError: no frame has a face.
    """
    if not detected.any():
        raise ValueError("no frame has a face")
    centre, half, angle = pose_from_quad(quads)
    rows = np.column_stack([centre, np.log(half), np.full(len(half), np.nan)])
    rows[detected, 3] = np.unwrap(angle[detected])
    sigmas = (centre_seconds, centre_seconds, SIZE_SIGMA, roll_seconds)
    filled = _fill(rows, detected, cuts)
    for shot in shots(cuts):
        size = float(np.median(filled[shot, 2]))
        for column, seconds in enumerate(sigmas):
            sigma = seconds * float(frame_rate)
            filled[shot, column] = gaussian_filter1d(filled[shot, column], sigma, mode="nearest")
        if np.ptp(filled[shot, 2]) <= STEADY_SIZE:
            filled[shot, 2] = size
    return quad_from_pose(filled[:, :2], np.exp(filled[:, 2]), filled[:, 3])


def head_motion(quads: Float32, cuts: Bool) -> Float32:
    """[T, 4] what cropping by quads [T, 4, 2] takes away, each less the mean of its shot.

    Roll (radians, clockwise), log of the size, and shift right and down in halves of a crop's side.
    """
    centre, half, angle = pose_from_quad(quads)
    rows = np.column_stack([np.unwrap(angle), np.log(half), centre])
    for shot in shots(cuts):
        rows[shot, 2:] /= half[shot].mean()
        rows[shot] -= rows[shot].mean(0)
    return rows.astype(np.float32)


def put_back(face: UInt8, head: Float32, size: int) -> UInt8:
    """An aligned face [R, R, 3] as [size, size, 3], moved as a row [4] of head_motion says; what enters is mirrored."""
    roll, log_size, right, down = (float(value) for value in head)
    side = OUTPUT_SUPERSAMPLING * size
    half = side / 2 / math.exp(log_size)
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])  # back
    centre = side / 2 - half * (turn @ (right, down))
    quad = quad_from_pose(centre, np.array(half), np.array(-roll))
    return crop(resize(face, side, side), quad, size)


def _fill(rows: NDArray[np.float64], detected: Bool, cuts: Bool) -> NDArray[np.float64]:
    """Missing rows by linear interpolation inside a shot; a shot without any face borrows from the whole clip."""
    filled = rows.copy()
    everywhere = np.flatnonzero(detected)
    for shot in shots(cuts):
        frames = np.arange(shot.start, shot.stop)
        known = frames[detected[shot]]
        known = known if len(known) else everywhere
        for column in range(rows.shape[1]):
            filled[shot, column] = np.interp(frames, known, rows[known, column])
    return filled


def crop(picture: UInt8, quad: Float32, resolution: int) -> UInt8:
    """The quad [4, 2] px of a picture [H, W, 3] as an upright square [R, R, 3]; outside, the picture is mirrored."""
    _, half, _ = pose_from_quad(quad)
    size = max(1.0, 2 * float(half))
    k = min(MAX_SUPERSAMPLING, max(1, math.ceil(size / resolution)))
    shrink = min(1.0, k * resolution / size)
    if shrink < 0.5:  # beyond what supersampling covers, average first
        width, height = round(picture.shape[1] * shrink), round(picture.shape[0] * shrink)
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        quad = quad * shrink
    matrix = _matrix(quad, resolution * k)
    warped = cv2.warpAffine(
        picture,
        matrix,
        (resolution * k, resolution * k),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if k > 1:
        warped = cv2.resize(warped, (resolution, resolution), interpolation=cv2.INTER_AREA)
    return np.asarray(warped, np.uint8)


def paste(face: UInt8, quad: Float32, picture: UInt8, softness: float = 0.1) -> UInt8:
    """The picture [H, W, 3] with an aligned face [R, R, 3] put back where its quad is; the edge fades over
    `softness` of the crop's side.
    """
    resolution = face.shape[0]
    matrix = cv2.invertAffineTransform(_matrix(quad, resolution))
    size = (picture.shape[1], picture.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(face, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    ramp = np.clip((np.arange(resolution) + 0.5) / max(1.0, softness * resolution), 0, 1)
    ramp = np.minimum(ramp, ramp[::-1]).astype(np.float32)
    weight = cv2.warpAffine(np.outer(ramp, ramp), matrix, size, flags=flags)[:, :, None]
    return np.round(picture + (placed.astype(np.float32) - picture) * weight).astype(np.uint8)


def _matrix(quad: Float32, resolution: int) -> NDArray[np.float64]:
    """[2, 3] crop px to picture px, pixel centres on integers in both."""
    quad64 = quad.astype(np.float64)
    x, y = (quad64[3] - quad64[0]) / resolution, (quad64[1] - quad64[0]) / resolution
    # quads measure from pixel corners, warpAffine from pixel centres: half a pixel on each side
    origin = quad64[0] + 0.5 * (x + y) - 0.5
    return np.column_stack([x, y, origin])
