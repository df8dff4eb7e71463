"""What tests share: a tiny model, a tiny video, and the command line run as a user runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from pipeline.graph import open_model, run_graph, settings
from pipeline.runner import execute
from pipeline.store import Store
from reanimate.checkpoints.bundle import save_bundle
from reanimate.generators.mescheder import Mescheder, MeschederConfig
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, usual_channels
from reanimate.images import resize, write_image
from reanimate.inversion.encoder import Encoder, EncoderConfig
from reanimate.training.data import Faces
from reanimate.types import VideoInfo
from reanimate.video import frames, probe, write_video

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def tiny_generator(seed: int = 0, resolution: int = 16) -> StyleGAN2:
    """A random generator that runs in a millisecond."""
    torch.manual_seed(seed)
    config = StyleGAN2Config(resolution, usual_channels(resolution, 128, 16), z_dim=8, w_dim=8, mapping_layers=2)
    generator = StyleGAN2(config).eval().requires_grad_(False)
    with torch.no_grad():
        generator.mapping_network.w_avg.copy_(generator.mapping(torch.randn(256, 8))[:, 0].mean(0))
    return generator


def tiny_encoder(generator: StyleGAN2, seed: int = 0) -> Encoder:
    """A random encoder that fits."""
    torch.manual_seed(seed)
    config = EncoderConfig(generator.resolution, generator.num_ws, generator.w_dim, 128, 16, hidden=8)
    return Encoder(config).eval().requires_grad_(False)


def mescheder_file(path: Path, classes: int = 1, seed: int = 0) -> Mescheder:
    """A checkpoint of a tiny random generator of GAN_stability at 16 px, as its training writes them."""
    torch.manual_seed(seed)
    network = Mescheder(MeschederConfig(16, (8, 4, 4), "resnet", 8, 3, c_dim=classes if classes > 1 else 0)).eval()
    state = {
        "module." + re.sub(r"stages\.(\d)\.0", lambda found: f"resnet.{2 * int(found[1])}", name): value
        for name, value in network.state_dict().items()
    }
    torch.save({"it": 3, "generator": state, "generator_test": state}, path)
    return network.requires_grad_(False)


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


def write_clip(path: Path, pictures: np.ndarray, rate: Fraction = Fraction(25)) -> Path:
    """[T, H, W, 3] as a silent video."""
    info = VideoInfo(pictures.shape[2], pictures.shape[1], len(pictures), rate, has_audio=False)
    write_video(path, iter(pictures), info, sound_from=None)
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


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that the command complains in."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, f"not one line of error: {self.err!r}"
        assert "Traceback" not in self.err
        assert self.err.splitlines()[-1] == lines[0], "and it is the last one"
        return lines[0]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line in this process, with a cache and a working folder of its own; checks the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REANIMATE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object, code: int = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["reanimate", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        done = Done(int(stop.value.code or 0), out, err)
        assert done.code == code, f"exit code {done.code} instead of {code}\n{err}\n{out}"
        return done

    return run


@pytest.fixture(scope="session")
def face_frames(face_video: Path) -> np.ndarray:
    """The first frames [10, H, W, 3] of the example source."""
    return np.stack(list(islice(frames(face_video, probe(face_video)), 10)))


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, face_frames: np.ndarray) -> Path:
    """Ten frames of a face at a rate that is no whole number, with as much sound."""
    folder = tmp_path_factory.mktemp("source")
    rate = Fraction(30000, 1001)
    with wave.open(str(folder / "hum.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(48000)
        t = np.arange(round(48000 * len(face_frames) / rate)) / 48000
        sound.writeframes((8000 * np.sin(2 * np.pi * 220 * t)).astype("<i2").tobytes())
    info = VideoInfo(face_frames.shape[2], face_frames.shape[1], len(face_frames), rate, has_audio=True)
    write_video(folder / "source.mp4", iter(face_frames), info, sound_from=folder / "hum.wav")
    return folder / "source.mp4"


@pytest.fixture(scope="session")
def second_target(tmp_path_factory: pytest.TempPathFactory, face_frames: np.ndarray) -> Path:
    """Another picture of a face."""
    path = tmp_path_factory.mktemp("second") / "second.png"
    write_image(path, face_frames[0])
    return path


QUICK_SETS = ("invert.first_steps=5", "invert.steps=2", "rehearse.passes=2", "match.rounds=1")
QUICK = [word for text in QUICK_SETS for word in ("--set", text)]


@pytest.fixture(scope="session")
def quick(tiny_bundle: Path) -> list[object]:
    """Options with which a run takes a second."""
    return ["--model", tiny_bundle, *QUICK]


@pytest.fixture(scope="session")
def finished_cache(
    tmp_path_factory: pytest.TempPathFactory, source: Path, face_picture: Path, tiny_bundle: Path
) -> Path:
    """The cache that `run source face_picture` with the quick options leaves."""
    root = tmp_path_factory.mktemp("finished") / "cache"
    model = open_model(str(tiny_bundle))
    execute([run_graph(source, face_picture, model, settings(model, sets=QUICK_SETS))], Store(root))
    return root


@pytest.fixture
def finished(call: Callable[..., Done], tmp_path: Path, finished_cache: Path) -> Path:
    """The cache of `call`, filled by an earlier run of source and face_picture."""
    return Path(shutil.copytree(finished_cache, tmp_path / "cache"))


def stages(cache: Path) -> dict[str, set[str]]:
    """{stage: keys} of the finished results in a cache."""
    found: dict[str, set[str]] = {}
    for manifest in cache.glob("*/*/manifest.json"):
        if not manifest.parent.name.endswith(".partial"):
            found.setdefault(manifest.parent.parent.name, set()).add(manifest.parent.name)
    return found


def squeezenet_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under the names and shapes of SqueezeNet 1.1, at a size that keeps activations alive."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 3, 3)}
    sizes = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
    sizes += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
    for i, (before, squeezed, expanded) in enumerate(sizes, 2):
        shapes[f"fire{i}.squeeze1x1"] = (squeezed, before, 1, 1)
        shapes[f"fire{i}.expand1x1"] = (expanded, squeezed, 1, 1)
        shapes[f"fire{i}.expand3x3"] = (expanded, squeezed, 3, 3)
    weights = {}
    for name, shape in shapes.items():
        size = np.sqrt(2 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = rng.normal(0, size, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    return weights


def squeezenet_file(path: Path) -> Path:
    """Random SqueezeNet weights as an npz."""
    np.savez(path, **squeezenet_weights())
    return path


def made_up_faces(count: int = 24, resolution: int = 16) -> Faces:
    """Smooth blots with landmarks, of people with one picture each; about a tenth of them is held out."""
    rng = np.random.default_rng(0)
    side = round(resolution * 1.125)
    coarse = rng.integers(0, 256, (count, 3, 3, 3), np.uint8)
    pictures = np.stack([resize(picture, side, side) for picture in coarse])
    points = [face_points((resolution / 2, resolution / 2), resolution / 2, roll) for roll in rng.normal(0, 0.1, count)]
    names = np.array([f"person{i}/1.jpg" for i in range(count)])
    return Faces(pictures, np.stack(points), names, resolution)
