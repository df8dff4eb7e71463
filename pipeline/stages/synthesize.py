"""Codes to pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pipeline.artefacts import load_latents
from pipeline.stage import Job, Stage
from pipeline.streams import FrameWriter
from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import to_pictures

FRAMES = "frames.npy"
BATCH = 8


@dataclass(frozen=True, slots=True)
class SynthesizeParams:
    """The model that makes the pictures."""

    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Latents to frames.npy [T, R, R, 3]."""
    generator = load_bundle(job.params.model, job.device).generator
    ws = torch.from_numpy(load_latents(job.inputs["latents"]).ws)
    job.reporter.start("synthesize", len(ws))
    with FrameWriter(job.folder / FRAMES, len(ws), generator.resolution) as writer, torch.no_grad():
        for chunk in torch.split(ws, BATCH):
            for picture in to_pictures(generator.synthesis(chunk.to(job.device))):
                writer.write(picture)
            job.reporter.advance(len(chunk))
    job.reporter.finish()


STAGE = Stage("synthesize", 2, ("latents",), SynthesizeParams, run)
