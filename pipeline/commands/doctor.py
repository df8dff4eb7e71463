"""What this machine lacks."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable

import click

from reanimate.errors import ReanimateError

_MODULES = ("torch", "torchvision", "cv2", "dlib", "scipy", "numpy", "ffmpeg", "lpips", "safetensors", "matplotlib")


@click.command()
def doctor() -> None:
    """Check that everything a run needs is here.

    The exit code is 1 if something is missing.

    Example: reanimate doctor
    """
    checks: list[tuple[str, Callable[[], str]]] = [(name, lambda name=name: _module(name)) for name in _MODULES]  # type: ignore[misc]
    checks += [("landmarks", _landmarks), ("ffmpeg program", _ffmpeg), ("model faces", _model), ("cache", _cache)]
    click.echo(f"{'ok':>8}  python {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = []
    for name, check in checks:
        try:
            click.echo(f"{'ok':>8}  {name}: {check()}")
        except (ReanimateError, ImportError, OSError) as error:
            missing.append(name)
            click.echo(f"{'MISSING':>8}  {name}: {error}")
    click.echo(f"{'device':>8}  {_device() if 'torch' not in missing else 'unknown without torch'}")
    if missing:
        raise ReanimateError(f"missing: {', '.join(missing)}; run make setup, or pip install what is named above")


def _module(name: str) -> str:
    module = importlib.import_module(name)
    return str(getattr(module, "__version__", "found"))


def _landmarks() -> str:
    from reanimate.faces.detect import model_file

    model_file("dlib_face_recognition_resnet_model_v1.dat")
    return model_file("shape_predictor_68_face_landmarks.dat").name


def _ffmpeg() -> str:
    from reanimate.video import find_ffmpeg

    return find_ffmpeg()


def _model() -> str:
    from reanimate.checkpoints.bundle import DEFAULT_MODEL, load_bundle

    return f"digest {load_bundle(DEFAULT_MODEL).card.digest[:12]}"


def _cache() -> str:
    from pipeline.commands.options import cache_dir

    folder = cache_dir(None)
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".doctor"
    probe.write_bytes(b"")
    probe.unlink()
    return str(folder)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
