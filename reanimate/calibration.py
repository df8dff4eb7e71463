"""What the pipeline needs to know of a model, measured on pictures the model makes itself. All draws are seeded.

What `calibrate` measures, by its name in a card's `measured`:

w_rms                RMS of W about its mean, W+ units: the unit of step sizes
w_avg_distance       RMS distance of the stored w_avg from the mean of many draws, in w_rms
faces_seen           share of the model's pictures in which the detector sees a face; what follows needs some
motion_layers        the fewest layers that carry LAYERS_SHARE of the change in pose and expression
layers_share         LAYERS_SHARE
layer_motion         [L] share of each layer, from exchanging its code alone between faces
layer_colour         [L] change of the mean colour by the same exchange, of 255
layer_identity       [L] distance of dlib's descriptor by the same exchange
typical_pose_rms     RMS, W+ units, of the part of w that moves with head, mouth and eyes, at NATURAL spreads
typical_pose_from    what that was measured on
encoder_amplitude    {attribute: how much of its movement the encoder gives back; codes: of the codes' movement}
default_steps        passes after which ten more lower the loss by less than a hundredth; at most the last of STEPS
default_steps_from   what that was measured on

A generator without W lacks the first two and the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from reanimate.checkpoints.bundle import Bundle
from reanimate.faces.detect import DlibDetector
from reanimate.faces.expression import express
from reanimate.generators.protocol import Generator
from reanimate.images import to_pictures, to_tensor
from reanimate.inversion.encoder import Encoder
from reanimate.inversion.invert import PRESETS, Inverter
from reanimate.inversion.losses import Loss
from reanimate.inversion.spaces import w_rms
from reanimate.metrics import descriptor_at, surest_face
from reanimate.types import ATTRIBUTES, NATURAL, UInt8, spread

Float64 = NDArray[np.float64]

MEASURED = (
    *("w_rms", "w_avg_distance", "faces_seen"),
    *("motion_layers", "layers_share", "layer_motion", "layer_colour", "layer_identity"),
    *("typical_pose_rms", "typical_pose_from", "encoder_amplitude", "default_steps", "default_steps_from"),
)
PSI = 0.7  # truncation of the draws
EXCHANGED = 32  # faces whose codes are exchanged, layer by layer
LAYERS_SHARE = 0.9
LEAST_SEEN = 0.25  # share of pictures with a face, below which a model is not one of faces
STEPS = (10, 15, 20, 30, 40, 60, 80, 120, 160)  # lengths of the schedules that are compared
PICTURES = 4  # that they are compared on
GAIN = 0.01  # per ten passes, below which more are not worth it
_AVERAGED = 10_000  # draws for the mean of W
_BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is measured of pictures; NaN where no face is seen, or nobody asked."""

    expression: Float64
    """[N, 4] in the order of ATTRIBUTES."""
    descriptors: Float64
    """[N, 128]"""


class Look(Protocol):
    """How pictures are measured."""

    def __call__(self, pictures: UInt8, *, who: bool = False) -> Seen:
        """What is seen in pictures [N, R, R, 3]; descriptors, which cost most of the time, only for `who`."""


Advance = Callable[[int], None]
"""Told how many more pictures or passes are done."""


def look_at(pictures: UInt8, *, who: bool = False, moving: bool = False) -> Seen:
    """See Look: by dlib's detector, landmarks and descriptor.

    `moving` pictures are of one face, and each shows it near where the one before does.
    """
    detector, last = DlibDetector(), None
    landmarks = np.full((len(pictures), 68, 2), np.nan, np.float32)
    descriptors = np.full((len(pictures), 128), np.nan)
    for i, picture in enumerate(pictures):
        seen = surest_face(picture, detector, last)
        last = seen[1] if seen is not None and moving else None
        if seen is not None:
            landmarks[i] = seen[1].landmarks
            if who:
                descriptors[i] = descriptor_at(seen[0], landmarks[i])
    found = express(landmarks)
    return Seen(np.stack([getattr(found, name) for name in ATTRIBUTES], 1), descriptors)


@torch.no_grad()
def calibrate(
    bundle: Bundle, loss: Loss, faces: int, crops: UInt8 | None, look: Look, advance: Advance
) -> dict[str, Any]:
    """{name: what was measured}, see above, on so many drawn faces; `crops` [N, R, R, 3] are real faces, if at hand."""
    generator = bundle.generator
    ws = draw(generator, faces)
    shown = [look(pictures) for pictures in painted(generator, ws, advance)]
    expression = np.concatenate([seen.expression for seen in shown])
    share = float(np.isfinite(expression).all(1).mean())
    measured: dict[str, Any] = {"faces_seen": round(share, 3)}
    if generator.has_w:
        measured |= {"w_rms": round(w_rms(generator), 4), "w_avg_distance": round(w_avg_distance(generator), 4)}
    if share >= LEAST_SEEN:
        if generator.has_w:
            measured |= knock_out(generator, ws[:EXCHANGED], look, advance)
        codes = ws[:, 0].cpu().double().numpy()
        measured["typical_pose_rms"] = round(typical_pose_rms(codes, expression), 5)
        measured["typical_pose_from"] = f"{faces} generated faces"
        if bundle.encoder is not None:
            moves = torch.from_numpy(directions(codes, expression) * NATURAL[:, None]).to(ws)
            measured["encoder_amplitude"] = encoder_amplitude(
                generator, bundle.encoder, ws[:EXCHANGED], moves, look, advance
            )
    if crops is None:
        pictures = np.concatenate(list(painted(generator, ws[:PICTURES], advance)))
    else:
        pictures = crops[spread(len(crops), PICTURES)]
    measured["default_steps"] = default_steps(bundle, loss, to_tensor(pictures).to(ws.device), advance)
    measured["default_steps_from"] = "generated faces" if crops is None else "real faces"
    return measured


def workload(bundle: Bundle, faces: int) -> int:
    """Pictures and passes that `calibrate` makes at most, for a bar of progress."""
    pairs = 4 * len(ATTRIBUTES) + 1 if bundle.encoder is not None else 0
    exchanges = bundle.generator.num_ws + 1 if bundle.generator.has_w else 0
    return faces + min(faces, EXCHANGED) * (exchanges + pairs) + PICTURES + sum(STEPS)


def draw(generator: Generator, count: int, seed: int = 0, psi: float = PSI) -> torch.Tensor:
    """Codes [N, L, D] of random pictures."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z.to(generator.w_avg.device), truncation_psi=psi)


def w_avg_distance(generator: Generator) -> float:
    """How far the stored mean of W is from that of many draws, in units of W's RMS; sampling alone makes it 0.01."""
    mean = torch.stack([draw(generator, 1000, seed, 1.0)[:, 0].mean(0) for seed in range(_AVERAGED // 1000)]).mean(0)
    return float((generator.w_avg - mean).square().mean().sqrt()) / w_rms(generator)


def knock_out(generator: Generator, ws: torch.Tensor, look: Look, advance: Advance) -> dict[str, Any]:
    """Which layers carry motion: of faces with codes [N, L, D], each layer's code is exchanged alone for a neighbour's.

    The change of each attribute counts in units of its natural spread, squared.
    """
    pictures = np.concatenate(list(painted(generator, ws, advance)))
    seen, motion, colour, identity = look(pictures, who=True), [], [], []
    for layer in range(ws.shape[1]):
        exchanged = ws.clone()
        exchanged[:, layer] = ws[:, layer].roll(1, 0)
        others = np.concatenate(list(painted(generator, exchanged, advance)))
        other = look(others, who=True)
        change = (other.expression - seen.expression) / NATURAL
        motion.append(_mean(np.square(change).mean(1)))
        identity.append(_mean(np.linalg.norm(other.descriptors - seen.descriptors, axis=1)))
        shift = others.mean((1, 2)) - pictures.mean((1, 2))
        colour.append(float(np.sqrt(np.square(shift).mean())))
    shares = np.array(motion) / max(sum(motion), 1e-12)
    return {
        "motion_layers": carriers(shares),
        "layers_share": LAYERS_SHARE,
        "layer_motion": shares.round(4).tolist(),
        "layer_colour": np.round(colour, 2).tolist(),
        "layer_identity": np.round(identity, 3).tolist(),
    }


def carriers(shares: Float64, least: float = LAYERS_SHARE) -> list[int]:
    """The fewest layers, in order, whose shares [L] add up to `least`."""
    order = np.argsort(-shares, kind="stable")
    count = int(np.searchsorted(np.cumsum(shares[order]), least - 1e-9)) + 1
    return sorted(order[:count].tolist())


def directions(codes: Float64, expression: Float64) -> Float64:
    """[A, D] how codes [N, D] change with a unit of each attribute [N, A], by least squares over the faces seen."""
    known = np.isfinite(expression).all(1)
    centred = expression[known] - expression[known].mean(0)
    fitted: Float64 = np.linalg.lstsq(centred, codes[known] - codes[known].mean(0), rcond=None)[0]
    return fitted


def typical_pose_rms(codes: Float64, expression: Float64) -> float:
    """RMS of the part of codes [N, D] that moves with the attributes [N, A] when each has its natural spread.

    Two halves of the faces are fitted apart and multiplied, because the square of one fit would count its noise, which
    in many dimensions is larger than what is looked for.
    """
    first, second = (directions(codes[i::2], expression[i::2]) for i in range(2))
    power = (np.square(NATURAL)[:, None] * first * second).sum()
    return float(np.sqrt(max(power, 0.0) / codes.shape[1]))


def encoder_amplitude(
    generator: Generator, encoder: Encoder, ws: torch.Tensor, moves: torch.Tensor, look: Look, advance: Advance
) -> dict[str, float | None]:
    """How much of a movement the encoder gives back: 1 is all of it.

    Pairs of pictures are made of codes [N, L, D] plus and minus each of the moves [A, D] and encoded. By attribute: its
    difference between what is made of the encoder's codes over that between the pictures; None if the move does not
    change it. `codes`: the same by projecting differences of codes, for pairs of different faces.
    """
    found: dict[str, float | None] = {}
    for i, name in enumerate(ATTRIBUTES[: len(moves)]):
        shown, returned = [], []
        for sign in (1, -1):
            for pictures in painted(generator, ws + sign * moves[i], advance):
                codes = encoder(to_tensor(pictures).to(ws.device))
                (rebuilt,) = painted(generator, codes, advance)
                shown.append(sign * look(pictures).expression[:, i])
                returned.append(sign * look(rebuilt).expression[:, i])
        half = len(shown) // 2
        pairs = np.stack([np.concatenate(part[:half]) + np.concatenate(part[half:]) for part in (shown, returned)])
        change, answer = pairs[:, np.isfinite(pairs).all(0)]
        sure = len(change) > 2 and change.mean() > 3 * change.std() / np.sqrt(len(change))
        found[name] = round(float(answer.sum() / change.sum()), 3) if sure else None
    parts = [encoder(to_tensor(pictures).to(ws.device)) for pictures in painted(generator, ws, advance)]
    encoded, true = ((codes - codes.roll(1, 0)).double() for codes in (torch.cat(parts), ws))
    found["codes"] = round(float((encoded * true).sum() / true.square().sum()), 3)
    return found


def default_steps(bundle: Bundle, loss: Loss, target: torch.Tensor, advance: Advance) -> int:
    """The shortest schedule from which the next longer one gains less than GAIN per ten passes, for [N, 3, R, R]."""
    params = PRESETS["fast"]
    if not bundle.generator.has_w:
        params = replace(params, space="z")
    before = np.inf
    for shorter, steps in zip((0, *STEPS), STEPS, strict=False):
        inverter = Inverter(bundle.generator, bundle.encoder, loss, replace(params, first_steps=steps))
        with torch.enable_grad():
            now = float(inverter.first(target, lambda: advance(1)).loss.mean())
        if now > before * (1 - GAIN) ** ((steps - shorter) / 10):
            return shorter
        before = now
    return STEPS[-1]


def painted(generator: Generator, ws: torch.Tensor, advance: Advance = lambda count: None) -> Iterator[UInt8]:
    """Pictures [n, R, R, 3] of codes [N, L, D], a few at a time; `advance` is told how many more there are."""
    for chunk in torch.split(ws, _BATCH):
        with torch.no_grad():
            pictures = to_pictures(generator.synthesis(chunk))
        yield pictures
        advance(len(chunk))


def _mean(values: Float64) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
