"""One run, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artefacts import load_latents, load_track
from pipeline.commands.options import Setup, deliver
from pipeline.graph import run_graph
from pipeline.runner import execute
from pipeline.stage import Reporter
from pipeline.stages.align import CROPS
from pipeline.stages.encode import VIDEO
from pipeline.stages.synthesize import FRAMES
from pipeline.streams import open_frames
from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import resize, sheet, to_pictures, write_image
from reanimate.types import spread
from reanimate.video import frames, probe

SHOWN = 10  # frames on the sheet
SHOWN_SIDE = 96  # px at least, so that small models can be judged by eye


def run_one(source: Path, target: Path, folder: Path, setup: Setup, reporter: Reporter) -> dict[str, Any]:
    """Run source and target; the row of the table. Writes the video and a sheet: source, reconstruction, result."""
    goal = run_graph(source, target, setup.model, setup.chosen)
    made = execute([goal], setup.store, reporter, setup.device)
    for node in _nodes(goal):  # a cached goal leaves out what it was made from
        made[node.label] = setup.store.folder(node)
    video = folder / f"{target.stem}_{source.stem}.mp4"
    deliver(made[goal.label] / VIDEO, video)
    _draw(made, setup, video.with_suffix(".png"))
    before, after = probe(source), probe(video)
    track, info = load_track(made["source/track"])
    return {
        "frames_in": info.num_frames,
        "frames_out": sum(1 for _ in frames(video, after)),
        "faces": int(track.detected.sum()),
        "duration_in": round(before.duration, 2),
        "duration_out": round(after.duration, 2),
        "rate_in": str(before.frame_rate),
        "rate_out": str(after.frame_rate),
        "sound": f"{len(before.audio_codecs)} → {len(after.audio_codecs)}",
        "loss": round(float(np.nanmean(load_latents(made["source/invert"]).loss)), 4),
    }


def _nodes(goal: Any) -> list[Any]:
    from pipeline.stage import Node

    return [goal, *(n for made in goal.inputs.values() if isinstance(made, Node) for n in _nodes(made))]


def _draw(made: dict[str, Path], setup: Setup, path: Path) -> None:
    """Rows: the source's crops, their reconstructions, the result; beside the result's first row, the target."""
    import torch

    crops, result = open_frames(made["source/align"] / CROPS), open_frames(made["synthesize"] / FRAMES)
    target = open_frames(made["target/align"] / CROPS)[0]
    shown = spread(len(crops), SHOWN)
    generator = load_bundle(str(setup.model.folder)).generator
    with torch.no_grad():
        ws = torch.from_numpy(load_latents(made["source/invert"]).ws[shown])
        rebuilt = list(to_pictures(generator.synthesis(ws)))
    blank = np.full_like(target, 255)
    rows = [[blank, *crops[shown]], [blank, *rebuilt], [target, *result[shown]]]
    side = max(SHOWN_SIDE, len(target))
    write_image(path, sheet([[resize(picture, side, side) for picture in row] for row in rows]), synthetic=True)
