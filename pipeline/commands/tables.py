"""The paper's tables: pictures as generators and other priors draw them, and how far those are from the truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.commands.restoring import Task
from pipeline.stage import Reporter
from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.still import aligned_crop, square_crop
from reanimate.images import encode_png, read_image, resize, sheet, to_pictures, to_tensor, write_image
from reanimate.inversion.features import SqueezeNetFeatures, picture_distances
from reanimate.metrics import LPIPS_SIDE, LpipsNet, lpips_distance
from reanimate.restore.degradations import BLACK, Downsampling, downsample, join, random_square
from reanimate.restore.priors import Prior
from reanimate.types import Float32, UInt8

SCHEMA = 1  # of a drawn picture; raised by hand when the same row would draw another one
SHOWN = 12  # pictures on a sheet
RESAMPLES = 10_000  # of the bootstrap


@dataclass(frozen=True, slots=True, eq=False)
class Exhibit:
    """A picture that is asked about."""

    name: str
    """Path below the folder."""
    truth: UInt8
    """[R, R, 3]"""
    hole: torch.Tensor
    """[1, 1, R, R]"""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to pictures, in px at their own resolution."""

    square: int
    """Side of the hole."""
    factor: int
    """Of downsampling."""
    downsampling: Downsampling


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A line of a table."""

    table: int
    name: str
    task: Task
    prior: Prior | None
    """None where it cannot be had."""
    told: Mapping[str, Any]
    """All that decides what the prior draws, as JSON values."""
    absent: str = ""
    """Why there is none."""
    published: float | None = None
    """LPIPS in the paper."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over pictures and its 95 % confidence interval, by bootstrap over them."""

    mean: float
    low: float
    high: float


def open_exhibits(
    folder: Path, paths: Sequence[Path], limit: int, resolution: int, damage: Damage, *, align: bool,
    reporter: Reporter,
) -> list[Exhibit]:  # fmt: skip
    """The first `limit` pictures that show a face; with `align` off, the first ones.

    Raises:
        MediaError: there are none.
    """
    exhibits: list[Exhibit] = []
    reporter.start("aligning", min(limit, len(paths)))
    for path in paths:
        if len(exhibits) == limit:
            break
        name = path.relative_to(folder).as_posix()
        try:
            picture = read_image(path)
            crop = (aligned_crop if align else square_crop)(picture, resolution, path)
        except FaceNotFound:
            reporter.say(f"{name}: no face is seen, so it is left out")
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        exhibits.append(Exhibit(name, crop, random_square(resolution, damage.square, seed)))
        reporter.advance()
    reporter.finish()
    if not exhibits:
        raise MediaError(folder, "no picture shows a face; pass --no-align for crops")
    return exhibits


def draw(row: Row, exhibit: Exhibit, damage: Damage, device: str) -> UInt8:
    """[R, R, 3] what the row's prior makes of a damaged picture; the whole of it, as the paper's code writes it."""
    prior = row.prior
    if prior is None:
        raise ValueError(f"{row.name} has no prior")
    picture, hole = to_tensor(exhibit.truth[None]).to(device), exhibit.hole.to(device)
    if row.task == "reconstruct":
        drawn = prior.reconstruct(picture)
    elif row.task == "inpaint":
        drawn = prior.inpaint(picture.masked_fill(hole, BLACK), hole)
    else:
        small = to_tensor(small_picture(exhibit, damage)[None]).to(device)
        drawn = prior.upscale(small, damage.factor, damage.downsampling)
    made: UInt8 = to_pictures(drawn)[0]
    return made


def small_picture(exhibit: Exhibit, damage: Damage) -> UInt8:
    """[r, r, 3], in whole numbers, as a file would hold it."""
    small = downsample(to_tensor(exhibit.truth[None]), damage.factor, damage.downsampling)
    made: UInt8 = to_pictures(small)[0]
    return made


def draw_all(
    rows: Sequence[Row], exhibits: Sequence[Exhibit], damage: Damage, folder: Path, device: str, reporter: Reporter
) -> list[list[UInt8]]:
    """What every row draws of every picture. Each is kept in `folder` as it is made, and taken from there again.

    Raises:
        MediaError: the folder cannot be written.
    """
    jobs = [(row, exhibit, folder / f"{key_of(row, exhibit, damage)}.png") for row in rows for exhibit in exhibits]
    left = [job for job in jobs if not job[2].is_file()]
    reporter.start("drawing", len(jobs), done=len(jobs) - len(left))
    for row, exhibit, path in left:
        if not path.is_file():  # two rows may be one
            partial = path.with_suffix(".partial")
            write_image(partial, draw(row, exhibit, damage, device), synthetic=True)
            partial.replace(path)
        reporter.advance(note=f"table {row.table}, {row.name}")
    reporter.finish()
    made = iter(read_image(path) for _, _, path in jobs)
    return [[next(made) for _ in exhibits] for _ in rows]


def key_of(row: Row, exhibit: Exhibit, damage: Damage) -> str:
    """Names a drawn picture by all that decides it."""
    suffered = {"reconstruct": {}, "inpaint": {"square": damage.square}}.get(row.task, asdict(damage))
    told = json.dumps([SCHEMA, row.task, dict(row.told), suffered, exhibit.name], sort_keys=True)
    return hashlib.sha256(told.encode() + encode_png(exhibit.truth)).hexdigest()[:32]


def put_back(row: Row, drawn: UInt8, exhibit: Exhibit) -> UInt8:
    """What a user gets: for a hole, the picture with only the hole drawn; else what is drawn."""
    if row.task != "inpaint":
        return drawn
    truth, whole = to_tensor(exhibit.truth[None]), to_tensor(drawn[None])
    made: UInt8 = to_pictures(join(whole, truth, exhibit.hole))[0]
    return made


def damaged(task: Task, exhibit: Exhibit, damage: Damage) -> UInt8:
    """What priors are shown, at the picture's size."""
    if task == "inpaint":
        return np.where(exhibit.hole[0, 0].numpy()[:, :, None], np.uint8(0), exhibit.truth)
    if task == "upscale":
        small = small_picture(exhibit, damage)
        return small.repeat(damage.factor, 0).repeat(damage.factor, 1)
    return exhibit.truth


Metric = Callable[[UInt8, UInt8], float]


def squeezenet_metric(network: SqueezeNetFeatures) -> Metric:
    """The distance of SqueezeNet's features; pictures below 64 px are enlarged to that first."""

    def distance(a: UInt8, b: UInt8) -> float:
        side = max(LPIPS_SIDE, a.shape[0])
        enlarged = [resize(picture, side, side)[None] for picture in (a, b)]
        return float(picture_distances(enlarged[0], enlarged[1], network)[0])

    return distance


def lpips_metric(net: LpipsNet) -> Metric:
    """LPIPS with this network.

    Raises:
        WeightsUnavailable: its weights are not here and cannot be fetched.
    """
    blank = np.zeros((LPIPS_SIDE, LPIPS_SIDE, 3), np.uint8)
    lpips_distance(blank, blank, net)  # that weights are missing is known before the work
    return lambda a, b: lpips_distance(a, b, net)


def estimate(values: Float32) -> Estimate:
    """Of values [N]."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def sheets(
    rows: Sequence[Row], drawn: Sequence[Sequence[UInt8]], exhibits: Sequence[Exhibit], damage: Damage, folder: Path
) -> Iterator[Path]:
    """A picture for each table: what was shown, what each row made of it, and the truth."""
    for table in sorted({row.table for row in rows}):
        mine = [(row, pictures) for row, pictures in zip(rows, drawn, strict=True) if row.table == table]
        task, lines = mine[0][0].task, []
        for i, exhibit in enumerate(exhibits[:SHOWN]):
            first = [] if task == "reconstruct" else [damaged(task, exhibit, damage)]
            made = [put_back(row, pictures[i], exhibit) for row, pictures in mine]
            lines.append([*first, *made, exhibit.truth])
        path = folder / f"table{table}.png"
        write_image(path, sheet(lines), synthetic=True)
        yield path


def compare(
    rows: Sequence[Row], drawn: Mapping[int, Sequence[UInt8]], exhibits: Sequence[Exhibit], metric: Metric
) -> list[dict[str, Any]]:
    """What is printed of every row: its distance from the truth, drawn whole and put back, and how much further from
    it than the first row of its table; `drawn` holds [N, R, R, 3] by the row's id.
    """
    first: dict[int, Float32] = {}
    found: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {"table": row.table, "row": row.name, "published": row.published}
        if row.prior is None:
            found.append(line | {"absent": row.absent})
            continue
        pairs = list(zip(drawn[id(row)], exhibits, strict=True))
        whole = np.array([metric(picture, exhibit.truth) for picture, exhibit in pairs], np.float32)
        reference = first.setdefault(row.table, whole)
        line |= {"distance": asdict(estimate(whole)), "further": asdict(estimate(whole - reference))}
        if row.task == "inpaint":
            joined = [metric(put_back(row, picture, exhibit), exhibit.truth) for picture, exhibit in pairs]
            line["put_back"] = asdict(estimate(np.array(joined, np.float32)))
        found.append(line)
    return found
