"""What tests share: a tiny model, a tiny video, and the command line run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from reanimate.checkpoints.bundle import save_bundle
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from reanimate.inversion.encoder import Encoder, EncoderConfig
from reanimate.types import VideoInfo
from reanimate.video import write_video

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def tiny_generator(seed: int = 0, resolution: int = 16) -> StyleGAN2:
    """A random generator that runs in a millisecond."""
    torch.manual_seed(seed)
    config = StyleGAN2Config(resolution, z_dim=8, w_dim=8, channel_base=128, channel_max=16, mapping_layers=2)
    generator = StyleGAN2(config).eval().requires_grad_(False)
    with torch.no_grad():
        generator.mapping_network.w_avg.copy_(generator.mapping(torch.randn(256, 8))[:, 0].mean(0))
    return generator


def tiny_encoder(generator: StyleGAN2, seed: int = 0) -> Encoder:
    """A random encoder that fits."""
    torch.manual_seed(seed)
    config = EncoderConfig(generator.resolution, generator.num_ws, generator.w_dim, 128, 16, hidden=8)
    return Encoder(config).eval().requires_grad_(False)


@pytest.fixture
def generator() -> StyleGAN2:
    return tiny_generator()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle at 16 px."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    generator = tiny_generator()
    save_bundle(folder, "tiny", generator, tiny_encoder(generator), {"trained_on": "nothing"}, {}, "MIT")
    return folder


@pytest.fixture
def reanimate(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, with a cache of its own."""

    def call(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "REANIMATE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "reanimate", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240)
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
        return done

    return call


@pytest.fixture(scope="session")
def face_picture() -> Path:
    """The example target: a face that does not exist."""
    return ROOT / "examples" / "target.jpg"


@pytest.fixture(scope="session")
def face_video() -> Path:
    """The example source."""
    return ROOT / "examples" / "source.mp4"


def write_clip(path: Path, frames: np.ndarray, rate: Fraction = Fraction(25)) -> Path:
    """[T, H, W, 3] as a silent video."""
    info = VideoInfo(frames.shape[2], frames.shape[1], len(frames), rate, has_audio=False)
    write_video(path, iter(frames), info, sound_from=None)
    return path


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny tensors gain nothing from threads, and sums keep their order."""
    torch.set_num_threads(1)


def face_points(centre: tuple[float, float] = (0.0, 0.0), size: float = 100.0, roll: float = 0.0) -> np.ndarray:
    """68 landmarks of a plain front view, `size` px from brow to chin: eyes level, mouth below, turned by `roll`."""
    jaw = [(-0.5 * np.cos(a), -0.1 + 0.6 * np.sin(a)) for a in np.linspace(0, np.pi, 17)]
    brows = [(side * x, -0.4 - 0.05 * np.sin(x * 8)) for side in (-1, 1) for x in np.linspace(0.1, 0.4, 5)]
    nose = [(0, y) for y in np.linspace(-0.2, 0.05, 4)] + [(x, 0.1) for x in np.linspace(-0.1, 0.1, 5)]
    ring = [(-1, 0), (-0.5, -0.5), (0.5, -0.5), (1, 0), (0.5, 0.5), (-0.5, 0.5)]
    eyes = [(at + 0.09 * x, -0.2 + 0.05 * y) for at in (-0.22, 0.22) for x, y in ring]
    outer = [(0.2 * np.cos(a), 0.3 + 0.06 * np.sin(a)) for a in np.pi + np.arange(12) * np.pi / 6]
    inner = [(0.12 * np.cos(a), 0.3 + 0.02 * np.sin(a)) for a in np.pi + np.arange(8) * np.pi / 4]
    points = np.array(jaw + brows + nose + eyes + outer + inner) * size
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (points @ turn.T + centre).astype(np.float32)
