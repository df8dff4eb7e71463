"""What a target's code does when its own face moves: found on photographs that were made to perform.

A movement read from one person and added to another's code moves that face less, and a closed mouth may not open at
all: the generator is not linear. The target's own movements are nearer at hand. Its picture is warped into poses, one
attribute at a time and several at once (`faces.puppet`), and the generator is tuned to draw them at codes that lie on a
curve for each attribute, which are learnt with it (`inversion.tune`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch
from torch.nn import functional

from reanimate.faces.expression import express
from reanimate.faces.puppet import Act, Puppets
from reanimate.images import to_pictures
from reanimate.inversion.invert import Inverter
from reanimate.inversion.spaces import from_ws, to_ws
from reanimate.inversion.tune import BATCH, tune
from reanimate.reading import learn
from reanimate.types import ATTRIBUTES, Float32, Int64, Rehearsal

MARGIN = 1.5  # side of the picture that is warped over that of a crop: what turns in was outside
FINER = 2  # px of it for one of the crop's, so that warping does not blur
STEPS = {
    "yaw": (-0.5, -0.25, 0.25, 0.5),  # radians
    "pitch": (-0.3, -0.15, 0.15, 0.3),
    "mouth": (0.0, 0.07, 0.16, 0.3, 0.45),  # gaps
    "eyes": (-0.3, 0.35, 0.7, 1.0),  # how far they close
    "smile": (-0.06, -0.03, 0.04, 0.08),  # how far the corners go outwards
}
"""What is shown beside the pose at rest; see puppet.Act."""
FARTHEST = 0.7  # radians, that any head is turned by: one that is turned already turns less to that side
NEAR = 0.03  # to the gap at rest: no pose of its own
READ = 1.5  # of what the encoder reads, where learning begins: it understates movements
ORDER = 2  # of the curve through an attribute's poses
MIXED = 128  # poses in which several attributes move
MOVING = 0.7  # how likely an attribute moves in one of them


def rehearse(
    inverter: Inverter,
    picture: torch.Tensor,
    landmarks: Float32,
    ws: torch.Tensor,
    passes: int,
    fixed: bool,
    report: Callable[[int, int], None],
) -> Rehearsal:
    """Offsets from a code [L, D] that move its face, by so many passes; `report` is told how many pictures' passes more
    are done, of how many.

    `picture` [1, 3, S, S] shows a crop and what is around it, S = FINER * MARGIN * R; `landmarks` [68, 2] are px of the
    crop. The inverter's generator is tuned to draw them, unless it is `fixed`.
    """
    generator, space = inverter.generator, inverter.params.space
    places = torch.from_numpy((2 * landmarks / generator.resolution - 1) / MARGIN).float().to(picture.device)
    puppets = Puppets(places[None])
    face = torch.zeros(1, dtype=torch.long)
    kinds, act = _acts(float(puppets.gap(face)), float(puppets.turned(face)), picture.device)
    shown, mixed = _shown(puppets, act), _mixed(act, min(MIXED, BATCH * passes))
    report(0, BATCH * passes)
    crops = _crops(puppets, act, picture, generator.resolution)
    targets = np.concatenate([to_pictures(crops), to_pictures(_crops(puppets, mixed, picture, generator.resolution))])
    attribute = np.array([ATTRIBUTES.index(kind) for kind in kinds[1:]])
    basis = torch.cat([_basis(act, act, fixed), _basis(mixed, act, fixed)])
    base = from_ws(generator, space, ws[None])

    def codes(directions: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        variable = base + torch.tensordot(basis[chosen], directions, 1)
        return ws + to_ws(generator, space, variable) - to_ws(generator, space, base)

    start = base.new_zeros(basis.shape[1], *base.shape[1:])
    if inverter.encoder is not None:
        with torch.no_grad():
            said = from_ws(generator, space, inverter.encoder(crops))
        start = torch.tensordot(torch.linalg.pinv(basis[: len(crops)]), READ * (said - said[:1]), 1)
    directions = tune(
        generator, inverter.loss, codes, start, inverter.unit, targets, passes, fixed, lambda: report(BATCH, 0)
    )
    with torch.no_grad():
        found = codes(directions, torch.arange(len(shown)))
    # where the generator is fixed, the pose at rest has moved too: what all have gained in likeness moves nothing
    offsets = (found[1:] - found[:1]).cpu().numpy()
    reader = learn(targets, np.concatenate([_as_alone(poses, act, attribute, shown) for poses in (act, mixed)]))
    return Rehearsal(attribute, shown[np.arange(1, len(shown)), attribute], shown[0], offsets, reader)


def _acts(gap: float, turned: float, device: torch.device) -> tuple[list[str], Act]:
    """What moves in every pose, nothing in the first, and the poses."""
    left, right = (min(1.0, max(FARTHEST + way, NEAR) / max(STEPS["yaw"])) for way in (turned, -turned))
    steps = STEPS | {
        "yaw": tuple(step * (left if step < 0 else right) for step in STEPS["yaw"]),
        "mouth": tuple(step for step in STEPS["mouth"] if abs(step - gap) > NEAR),
    }
    poses = [("", 0.0), *((name, step) for name in steps for step in steps[name])]

    def column(name: str, rest: float) -> torch.Tensor:
        return torch.tensor([step if kind == name else rest for kind, step in poses], device=device)

    smile, head = column("smile", 0), (column("yaw", 0), column("pitch", 0))
    act = Act(column("mouth", gap), column("eyes", 0), smile, column("rest", 0), *head)
    return [kind for kind, _ in poses], act


def _as_alone(poses: Act, act: Act, attribute: Int64, shown: Float32) -> Float32:
    """[N, A] what is seen of poses: of each attribute what is seen where it moves alone. `shown` [1 + M, A] says it of
    `act`, of which the first is at rest and the others are of one `attribute` [M] each.
    """
    columns = []
    for i, name in enumerate(ATTRIBUTES):
        alone, now = (getattr(some, "lids" if name == "eyes" else name).cpu().numpy() for some in (act, poses))
        mine = np.append(0, 1 + np.flatnonzero(attribute == i))
        mine = mine[np.argsort(alone[mine], kind="stable")]
        columns.append(np.interp(now, alone[mine], shown[mine, i]))
    return np.stack(columns, 1).astype(np.float32)


def _basis(act: Act, known: Act, shared: bool) -> torch.Tensor:
    """[M, K] what poses are made of: for each attribute of STEPS the powers of how far it goes, from the first of the
    `known` poses, which is at rest, over the farthest of them; and something that all have, if it is shared.
    """
    columns = [torch.ones_like(act.mouth)] * shared
    for name in ("lids" if name == "eyes" else name for name in STEPS):
        values = getattr(known, name)
        share = (getattr(act, name) - values[0]) / (values - values[0]).abs().max().clamp_min(NEAR)
        columns += [share**power for power in range(1, ORDER + 1)]
    return torch.stack(columns, 1)


def _mixed(act: Act, count: int) -> Act:
    """So many poses in which some attributes move at once, no farther than in those that are given."""
    random = np.random.default_rng(0)

    def drawn(values: torch.Tensor) -> torch.Tensor:
        rest, low, high = (float(value) for value in (values[0], values.min(), values.max()))
        places = np.where(random.random(count) < MOVING, random.uniform(low, high, count), rest)
        return torch.from_numpy(places).to(values)

    return Act(*(drawn(getattr(act, field.name)) for field in fields(act)))


@torch.no_grad()
def _crops(puppets: Puppets, act: Act, picture: torch.Tensor, resolution: int) -> torch.Tensor:
    """[M, 3, R, R] in every pose, one after the other: maps of places are large."""
    side = FINER * resolution
    middle = torch.tensor([[[1 / MARGIN, 0.0, 0.0], [0.0, 1 / MARGIN, 0.0]]], device=picture.device)
    grid = functional.affine_grid(middle, [1, 3, side, side], align_corners=False)
    face = torch.zeros(1, dtype=torch.long, device=picture.device)
    crops = [picture.new_empty(0, 3, resolution, resolution)]
    for i in range(len(act.mouth)):
        one = Act(*(getattr(act, field.name)[i : i + 1] for field in fields(act)))
        crops.append(functional.avg_pool2d(puppets.sample(face, one, picture, grid), FINER))
    return torch.cat(crops)


def _shown(puppets: Puppets, act: Act) -> Float32:
    """[M, A] what is seen of poses, as in PoseDeltas.moves."""
    chosen = torch.zeros(len(act.mouth), dtype=torch.long, device=act.mouth.device)
    seen = express(puppets.landmarks(chosen, act).cpu().numpy())
    turned, wider = (seen.yaw - seen.yaw[0], seen.pitch - seen.pitch[0]), seen.smile - seen.smile[0]
    found = (*turned, seen.mouth, 1 - act.lids.cpu().numpy(), wider)
    return np.stack(found, 1).astype(np.float32)
