"""An exported performance, checked against the model it is to move."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artefacts import save_deltas
from pipeline.stage import Job, Stage
from reanimate.pose_file import check_model, load_pose


@dataclass(frozen=True, slots=True)
class LoadPoseParams:
    """The model that is to be moved."""

    model_digest: str


def run(job: Job) -> None:
    """pose.npz to PoseDeltas."""
    path = job.inputs["file"]
    deltas = load_pose(path)
    check_model(path, deltas, job.params.model_digest)
    save_deltas(job.folder, deltas)


STAGE = Stage("load-pose", 4, ("file",), LoadPoseParams, run)
