"""Restored faces in the pictures they belong to: taken out upright, restored, and put back without an edge."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from reanimate.errors import MediaError
from reanimate.faces.align import crop, paste
from reanimate.images import to_pictures, to_tensor
from reanimate.restore.degradations import Downsampling, agree, fill, join
from reanimate.restore.priors import OnPass, Prior
from reanimate.types import Bool, Float32, UInt8

SLACK = 1.1  # how much more a face may show than it is taken at


def without_hole(picture: UInt8, hole: Bool) -> UInt8:
    """A picture [H, W, 3] with the hole [H, W] filled smoothly from around it."""
    filled = fill(to_tensor(picture[None]), torch.from_numpy(hole)[None, None])
    return np.where(hole[:, :, None], to_pictures(filled)[0], picture)


def inpaint_in(
    picture: UInt8, hole: Bool, quad: Float32, prior: Prior, resolution: int, device: str = "cpu",
    on_pass: OnPass | None = None, where: Path | str = "picture",
) -> UInt8:  # fmt: skip
    """A picture [H, W, 3] whose hole [H, W] is drawn by a prior that works on the quad [4, 2] px at `resolution`.

    Outside the hole every px is as it was. Where the hole reaches beyond the quad it is filled from around it.

    Raises:
        MediaError: the hole lies beside the quad or covers all of it; `where` names the picture.
    """
    seen = without_hole(picture, hole)
    holes = crop(np.repeat(np.uint8(255) * hole[:, :, None], 3, 2), quad, resolution)[:, :, 0] > 0
    if not holes.any():
        raise MediaError(where, "the mask lies beside the face; mark something in it, or give a crop with --no-align")
    if holes.all():
        raise MediaError(where, "the mask covers the whole face; something must be left to go by")
    target = to_tensor(crop(seen, quad, resolution)[None]).to(device)
    drawn = to_pictures(prior.inpaint(target, torch.from_numpy(holes)[None, None].to(device), on_pass))[0]
    placed = to_tensor(paste(drawn, quad, seen)[None])
    joined = to_pictures(join(placed, to_tensor(picture[None]), torch.from_numpy(hole)[None, None]))[0]
    return np.where(hole[:, :, None], joined, picture)


def side_of(quad: Float32) -> float:
    """Px."""
    return float(np.linalg.norm(quad[3].astype(np.float64) - quad[0]))


def known_side(quad: Float32, resolution: int, where: Path | str) -> int:
    """Px that a face is taken at: the least power of two that holds what it shows.

    Raises:
        MediaError: that is as many as the generator draws, or hardly any.
    """
    side = side_of(quad)
    if side < 2:
        raise MediaError(where, f"the face is {side:.1f} px wide; nothing can be made of that")
    known = 2 ** math.ceil(math.log2(side / SLACK))
    if known >= resolution:
        raise MediaError(
            where,
            f"the face is {side:.0f} px wide and the model draws {resolution}, which adds nothing; use a larger model",
        )
    return int(known)


def draw_enlarged(
    picture: UInt8, quad: Float32, side: int, prior: Prior, resolution: int, how: Downsampling = "area",
    device: str = "cpu", on_pass: OnPass | None = None,
) -> UInt8:  # fmt: skip
    """What a prior draws [R, R, 3] of the face in the quad [4, 2] px of a picture [H, W, 3], taken at `side` px, and
    what it lacks of it: made small, the face is what it was.
    """
    small = to_tensor(crop(picture, quad, side)[None]).to(device)
    factor = resolution // side
    drawn = prior.upscale(small, factor, how, on_pass)
    made: UInt8 = to_pictures(agree(drawn, small, factor, how))[0]
    return made


def whole_quad(side: int) -> Float32:
    """The quad [4, 2] px of a square picture that is a crop already."""
    return np.array([[0, 0], [0, side], [side, side], [side, 0]], np.float32)
