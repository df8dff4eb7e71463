"""The target's own movements, found on its picture made to perform."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from pipeline.artefacts import load_latents, load_track, save_rehearsal
from pipeline.stage import Job, Stage
from pipeline.stages.clip import open_clip
from pipeline.stages.decompose import attributes
from pipeline.tuned import save_kernels
from reanimate.calibration import painted
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import ConfigError, MediaError
from reanimate.faces.align import crop_around, in_crop
from reanimate.generators.protocol import Generator
from reanimate.images import to_tensor
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import LossName, make_loss
from reanimate.inversion.rehearse import FINER, MARGIN, rehearse
from reanimate.motion import canonical_frame
from reanimate.moves import along, as_seen
from reanimate.reading import read
from reanimate.types import FaceTrack, Float32, Rehearsal, UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseParams:
    """How the poses of the target are learnt."""

    passes: int = 300
    """Of four poses each; on another's movements alone, see apply.rehearse, none are spent."""
    tune: bool = True
    """Whether the generator is tuned to the target too."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 <= self.passes <= 100_000:
            raise ConfigError("passes", f"{self.passes} is not from 0 to 100000")


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseStageParams(RehearseParams):
    """The same, how the target's own picture is inverted, and in which model."""

    loss: LossName
    norm: int
    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """A clip or still, its FaceTrack and Latents to a Rehearsal, of the frame that stands best for it, and the weights
    that draw it.
    """
    params = job.params
    track, _ = load_track(job.inputs["track"])
    latents = load_latents(job.inputs["latents"])
    frame = canonical_frame(latents, attributes(track))
    bundle = load_bundle(params.model, job.device)
    space: Any = "w+" if bundle.generator.has_w else "z"
    # where a texture cannot be learnt, as of hair, features would have a grid drawn that looks as busy to them
    own = bundle.features.on_faces() if bundle.features is not None else None
    loss = make_loss(params.loss, params.norm, device=job.device, own=own)
    inverter = Inverter(bundle.generator, bundle.encoder, loss, InvertParams(space=space, precision="float32"))
    picture, points = _around(job, track, frame, bundle.generator.resolution)

    def report(done: int, total: int) -> None:
        if total:
            job.reporter.start("rehearse", total)
        else:
            job.reporter.advance(done)

    seen, ws = to_tensor(picture[None]).to(job.device), torch.from_numpy(latents.ws[frame]).to(job.device)
    rehearsal = rehearse(inverter, seen, points, ws, params.passes, not params.tune, report)
    save_rehearsal(job.folder, _as_seen(rehearsal, bundle.generator, ws))
    if params.tune:
        save_kernels(job.folder, bundle.generator)
    job.reporter.finish()


def _as_seen(rehearsal: Rehearsal, generator: Generator, ws: torch.Tensor) -> Rehearsal:
    """Places on the way through the poses, by what is seen of them: a soft picture shows less of an open mouth."""
    places = along(rehearsal)
    codes = ws + torch.from_numpy(np.concatenate([0 * places.offsets[:1], places.offsets])).to(ws)
    found = np.concatenate([read(rehearsal.reader, some) for some in painted(generator, codes)])
    return as_seen(places, found[1:] - found[0])


def _around(job: Job, track: FaceTrack, frame: int, resolution: int) -> tuple[UInt8, Float32]:
    """A frame's crop with a margin [S, S, 3], and its landmarks [68, 2] in px of the crop."""
    path, quad = job.inputs["clip"], track.quads[frame]
    _, frames = open_clip(path)
    picture = next(islice(frames, frame, None), None)
    if picture is None:
        raise MediaError(path, f"gave fewer frames than before: {frame} is missing")
    wide = crop_around(picture, quad, MARGIN, round(FINER * MARGIN * resolution))
    return wide, in_crop(track.landmarks[frame], quad, resolution)


STAGE = Stage("rehearse", 31, ("clip", "track", "latents"), RehearseStageParams, run)
