"""What a run would cost, in words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.options import Setup
from pipeline.commands.terminal import duration
from pipeline.runner import Step
from pipeline.stages.clip import open_clip

if TYPE_CHECKING:
    from pipeline.stages.rehearse import RehearseParams
    from reanimate.inversion.invert import InvertParams

# seconds per frame on two cores, where nothing better is known; inversion is timed
_PER_FRAME = {"track": 0.03, "align": 0.005, "match": 0.1, "synthesize": 0.02, "encode": 0.002}

_ROLES = ("target", "source", "model")
_STAGES = ("track", "align", "invert", "decompose", "rehearse", "subspace", "refine", "smooth", "plain", "movements")


def describe(steps: Sequence[Step], clips: Mapping[str, Path], setup: Setup) -> str:
    """A table of steps with reasons, then totals. `clips` are the files by role."""
    frames = {role: open_clip(path)[0].num_frames for role, path in clips.items()}
    steps = sorted(steps, key=_row)
    invert = setup.chosen["invert"]
    passing = any(s.node.stage.name in ("invert", "rehearse") and _runs(s) for s in steps)
    per_pass, tuned = _measured(setup) if passing else (0.0, 0)
    lines, seconds, disk = [], 0.0, 0
    for step in steps:
        label, name = step.node.label, step.node.stage.name
        count = frames.get(label.partition("/")[0], frames["source"])
        if not _runs(step):
            lines.append(f"{'cached':>7}  {label}")
            continue
        lines.append(f"{'run':>7}  {label:<18}  {'; '.join(step.reasons)}")
        if name in ("invert", "rehearse"):
            things, passes = _frames(count), _passes(count, invert)
            if name == "rehearse":
                things, passes = _rehearsal(setup.chosen["rehearse"])
                disk += tuned
            lines[-1] += f" ({things}, at most {passes} passes)"
            seconds += passes * per_pass
        else:
            seconds += _PER_FRAME.get(name, 0.0) * count
        disk += _bytes_per_frame(name, setup) * count
    if not any(_runs(step) for step in steps):
        return "\n".join([*lines, "nothing to do: every stage is in the cache"])
    total = f"{_frames(frames['source'])}; at most about {duration(seconds)} and {disk / 2**20:.1f} MiB of cache"
    return "\n".join([*lines, f"{total}, on {setup.device}"])


def _row(step: Step) -> int:
    """Clip by clip and stage by stage: cached steps come in the order in which they are asked for."""
    role, clip, stage = step.node.label.partition("/")
    return 10 * _ROLES.index(role) + _STAGES.index(stage) if clip else 10 * len(_ROLES)


def _runs(step: Step) -> bool:
    return step.status != "cached" or step.forced


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


def _passes(count: int, invert: InvertParams) -> int:
    """Of a clip of so many frames, one shot with an encoder; each picture of a batch counts."""
    from reanimate.inversion.clip import SHARED_FRAMES

    if count == 1 or not invert.warm_start:
        return count * invert.first_steps
    return min(count, SHARED_FRAMES) * invert.first_steps + count * invert.steps


def _rehearsal(params: RehearseParams) -> tuple[str, int]:
    """Poses, and passes; each picture of a batch counts."""
    from reanimate.inversion.rehearse import MIXED, STEPS
    from reanimate.inversion.tune import BATCH

    poses = 1 + sum(len(steps) for steps in STEPS.values()) + min(MIXED, BATCH * params.passes)
    return f"{poses} poses", BATCH * params.passes


def _measured(setup: Setup) -> tuple[float, int]:
    """Seconds of a pass, and bytes that a tuned model takes.

    A few passes of the model, the loss aside; of one picture among as many as are solved together.
    """
    import torch

    from reanimate.checkpoints.bundle import load_bundle
    from reanimate.inversion.losses import MultiScaleLoss
    from reanimate.inversion.precision import working
    from reanimate.inversion.tune import kernels

    invert: InvertParams = setup.chosen["invert"]
    bundle = load_bundle(str(setup.model.folder), setup.device)
    generator, _ = working(bundle.generator, MultiScaleLoss(), invert.precision)
    lanes = invert.lanes
    ws = torch.zeros(lanes, generator.num_ws, generator.w_dim, device=setup.device, requires_grad=True)
    took = []
    for _ in range(4):
        started = time.perf_counter()
        generator.synthesis(ws).square().mean().backward()  # type: ignore[no-untyped-call]
        if setup.device != "cpu":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    size = sum(4 * weight.numel() for weight in kernels(generator).values())
    return min(took) / lanes, size if setup.chosen["rehearse"].tune else 0


def _bytes_per_frame(stage: str, setup: Setup) -> int:
    config = setup.model.config
    picture, codes = 3 * config.resolution**2, 4 * config.num_ws * config.w_dim
    return {"align": picture, "synthesize": picture, "track": 600, "match": 40}.get(
        stage, 0 if stage == "encode" else codes
    )
