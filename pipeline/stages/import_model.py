"""An official checkpoint as a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.stage import Job, Stage
from reanimate.checkpoints.official import import_checkpoint


@dataclass(frozen=True, slots=True)
class ImportParams:
    """What the model is called."""

    name: str = field(metadata={"key": False})


def run(job: Job) -> None:
    """A file to a bundle."""
    import_checkpoint(job.inputs["file"], job.folder, job.params.name)


STAGE = Stage("import", 1, ("file",), ImportParams, run)
