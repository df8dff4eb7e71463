"""Codes to pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pipeline.artefacts import load_latents
from pipeline.stage import Job, Stage
from pipeline.streams import FrameWriter
from pipeline.tuned import tuned_generator
from reanimate.colour import ColourHold
from reanimate.images import to_pictures

FRAMES = "frames.npy"
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizeParams:
    """What is asked of the pictures."""

    hold_colour: bool = True
    """Whether codes are corrected until every picture has the mean colour of the mean code's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizeStageParams(SynthesizeParams):
    """The same, and the model that makes them."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Latents to frames.npy [T, R, R, 3], by what a Rehearsal made of the model if there is one."""
    generator = tuned_generator(job.params.model, job.device, job.inputs.get("rehearsal"))
    ws = torch.from_numpy(load_latents(job.inputs["latents"]).ws)
    job.reporter.start("synthesize", len(ws))
    hold = ColourHold(generator, ws.mean(0, keepdim=True).to(job.device)) if job.params.hold_colour else None
    with FrameWriter(job.folder / FRAMES, len(ws), generator.resolution) as writer, torch.no_grad():
        for chunk in torch.split(ws, BATCH):
            codes = chunk.to(job.device)
            for picture in to_pictures(generator.synthesis(codes if hold is None else hold(codes))):
                writer.write(picture)
            job.reporter.advance(len(chunk))
    job.reporter.finish()


def stage(tuned: bool) -> Stage:
    """The stage, which draws with a rehearsal's weights or with the model's own."""
    return Stage("synthesize", 4, ("latents", *["rehearsal"] * tuned), SynthesizeStageParams, run)
