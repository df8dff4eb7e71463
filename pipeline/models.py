"""Where models come from: the package, the user's folder in the cache, or an official file that is imported once."""

from __future__ import annotations

from pathlib import Path

from pipeline.manifest import Found
from pipeline.runner import execute
from pipeline.stage import FileInput, Node, Reporter, SilentReporter
from pipeline.stages.import_model import STAGE, ImportParams
from pipeline.store import Store
from reanimate.checkpoints.bundle import CARD, find_bundle


def own_models(store: Store) -> Path:
    """The folder of the models that the user gave names to."""
    return store.root / "models"


def find_model(model: str, store: Store, reporter: Reporter | None = None) -> Path:
    """The folder of a bundle: by its path, by name, or of an official file, which is imported if it was not before.

    Raises:
        ModelError: there is no such model, or the file is none.
        StoreError: the cache cannot be read or written.
    """
    reporter, path = reporter or SilentReporter(), Path(model)
    if not _is_file(path) or path.name == CARD:
        return find_bundle(model, own_models(store))
    node = Node(STAGE, ImportParams(readable_name(path)), {"file": FileInput(path)}, "model/import")
    if not isinstance(store.lookup(node), Found):
        reporter.say(f"{model} is imported into {store.folder(node)}, once")
    return execute([node], store, reporter)[node.label]


def readable_name(path: Path) -> str:
    """A model's name, from its file's."""
    return path.stem.encode(errors="replace").decode()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL, is that of no file
        return False
