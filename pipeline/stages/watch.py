"""What the pictures of a moved identity show, without a video: for measuring many settings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.artefacts import Like, load_deltas, save_arrays
from pipeline.stage import Job, Stage
from pipeline.stages.apply import ApplyParams, fed_by, moved
from pipeline.tuned import tuned_generator
from reanimate.agreement import restlessness
from reanimate.colour import ColourHold
from reanimate.faces.align import put_back
from reanimate.faces.detect import DlibDetector
from reanimate.images import to_pictures
from reanimate.metrics import descriptor_at, surest_face
from reanimate.types import Float32, PoseDeltas, UInt8

SEEN = "seen.npz"
WATCHED: Like = {
    "frames": (np.int64, (None,)),
    "landmarks": (np.float32, (None, 68, 2)),
    "descriptors": (np.float64, (None, 128)),
    "colours": (np.float64, (None, 3)),
    "restlessness": (np.float64, (None,)),
}
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchParams(ApplyParams):
    """How the performance is applied, and which frames are looked at."""

    most: int = 0
    """Frames, evenly over the clip; 0 is all."""
    hold_colour: bool = False
    head_motion: bool = False
    """Whether the source's roll is put back."""
    model_digest: str
    model: str = field(metadata={"key": False})
    """Where the model is."""


def run(job: Job) -> None:
    """Identity and PoseDeltas to what is seen of each frame; restlessness means something of all frames only."""
    params, pose = job.params, load_deltas(job.inputs["pose"])
    ws = moved(job, params, pose)
    count = len(ws)
    chosen = np.unique(np.linspace(0, count - 1, min(params.most or count, count)).round().astype(int))
    pictures = _pictures(job, ws, chosen, pose)
    detector = DlibDetector()
    landmarks, descriptors = np.full((len(chosen), 68, 2), np.nan, np.float32), np.full((len(chosen), 128), np.nan)
    job.reporter.start("watch", len(chosen))
    for i, picture in enumerate(pictures):
        seen = surest_face(picture, detector)
        if seen is not None:
            landmarks[i] = seen[1].landmarks
            descriptors[i] = descriptor_at(seen[0], landmarks[i])
        job.reporter.advance()
    job.reporter.finish()
    arrays = {
        "frames": chosen.astype(np.int64),
        "landmarks": landmarks,
        "descriptors": descriptors,
        "colours": pictures.mean((1, 2)),
        "restlessness": restlessness(pictures),
    }
    save_arrays(job.folder / SEEN, arrays, WATCHED)


def _pictures(job: Job, ws: Float32, chosen: np.ndarray[tuple[int], np.dtype[np.int64]], pose: PoseDeltas) -> UInt8:
    generator = tuned_generator(job.params.model, job.device, job.inputs.get("rehearsal"))
    codes = torch.from_numpy(ws)
    hold = ColourHold(generator, codes.mean(0, keepdim=True).to(job.device)) if job.params.hold_colour else None
    made = []
    with torch.no_grad():
        for chunk in torch.split(codes[torch.from_numpy(chosen)].to(job.device), BATCH):
            made.append(to_pictures(generator.synthesis(chunk if hold is None else hold(chunk))))
    pictures = np.concatenate(made)
    if job.params.head_motion and pose.head is not None:
        roll = pose.head[chosen] * np.array([1, 0, 0, 0], np.float32)
        rows = zip(pictures, roll, strict=True)
        pictures = np.stack([put_back(picture, row, len(picture)) for picture, row in rows])
    return pictures


def stage(params: WatchParams) -> Stage:
    """The stage with the inputs that its parameters ask for."""
    return Stage("watch", 5, ("pose", "identity", *fed_by(params)), WatchParams, run)
