"""How source.mp4 and target.jpg were made: two people who do not exist, one of whom turns, talks and blinks.

Each is a mean of a few random codes of the embedded model. The source rehearses, as a target does in a run, and is then
led through a made-up performance; a hum follows its mouth.

    python examples/make_examples.py
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from reanimate.checkpoints.bundle import load_bundle
from reanimate.faces.detect import DlibDetector
from reanimate.generators.protocol import Generator
from reanimate.images import resize, to_pictures, to_tensor
from reanimate.inversion.invert import Inverter, InvertParams
from reanimate.inversion.losses import make_loss
from reanimate.inversion.rehearse import FINER, MARGIN, rehearse
from reanimate.moves import along, rehearsed
from reanimate.types import Float64, UInt8, VideoInfo
from reanimate.video import write_video

FOLDER = Path(__file__).parent
SIDE = 256  # px; enlarged, so that the detector has something to see
PSI = 0.8
SOURCE, TARGET = (1428, 1429), (1400, 1401)  # seeds of the codes whose mean is somebody
PASSES = 60
RATE, SECONDS = Fraction(25), 3


def somebody(generator: Generator, seeds: Sequence[int]) -> torch.Tensor:
    """[L, D] the mean of random codes."""
    draws = [torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return generator.mapping(torch.cat(draws), truncation_psi=PSI).mean(0)


def draw(generator: Generator, codes: torch.Tensor) -> UInt8:
    """[N, SIDE, SIDE, 3] for codes [N, L, D]."""
    with torch.no_grad():
        pictures = np.concatenate([to_pictures(generator.synthesis(some)) for some in torch.split(codes, 8)])
    return np.stack([resize(picture, SIDE, SIDE) for picture in pictures])


def performance(frames: int) -> Float64:
    """[frames, A] what the source shows over time, as in PoseDeltas.moves."""
    t = np.arange(frames) / frames
    talk = np.clip(np.sin(2 * np.pi * 5 * t), 0, 1) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t))
    blink = sum(np.exp(-(((t - at) / 0.02) ** 2)) for at in (0.3, 0.8))
    yaw, pitch, smile = 12 * np.sin(2 * np.pi * t), 4 * np.sin(4 * np.pi * t), 0.05 * np.sin(2 * np.pi * 1.5 * t)
    return np.stack([yaw, pitch, 0.2 * talk, 1 - blink, smile], 1)


def perform(code: torch.Tensor, moves: Float64) -> UInt8:
    """[T, SIDE, SIDE, 3] the face of a code [L, D] that shows moves [T, A]."""
    bundle = load_bundle("faces")
    generator = bundle.generator
    inverter = Inverter(generator, bundle.encoder, make_loss("features", own=bundle.features), InvertParams())
    picture = draw(generator, code[None])[0]
    landmarks = DlibDetector().detect(picture)[0].landmarks
    inner = round(FINER * generator.resolution)
    edge = round((MARGIN - 1) / 2 * inner)
    wide = cv2.copyMakeBorder(resize(picture, inner, inner), edge, edge, edge, edge, cv2.BORDER_REFLECT)
    points = landmarks * generator.resolution / SIDE
    known = rehearse(inverter, to_tensor(wide[None]), points, code, PASSES, True, lambda done, total: None)
    offsets = rehearsed(along(known), moves)
    return draw(generator, code + torch.from_numpy(offsets).float())


def hum(mouth: np.ndarray, path: Path) -> None:
    """A voice-like tone as loud as the mouth is open."""
    rate = 44100
    seconds = np.arange(rate * SECONDS) / rate
    loud = np.interp(seconds * float(RATE), np.arange(len(mouth)), np.clip(mouth, 0, None)) / mouth.max()
    tone = sum(np.sin(2 * np.pi * 140 * k * seconds) / k for k in range(1, 6)) * loud * 0.2
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes((np.clip(tone, -1, 1) * 32767).astype("<i2").tobytes())


def main() -> None:
    """Write both files beside this one."""
    generator = load_bundle("faces").generator
    frames = int(RATE * SECONDS)
    moves = performance(frames)
    info = VideoInfo(SIDE, SIDE, frames, RATE, has_audio=False)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "hum.wav"
        hum(moves[:, 2], sound)
        write_video(FOLDER / "source.mp4", iter(perform(somebody(generator, SOURCE), moves)), info, sound_from=sound)
    target = draw(generator, somebody(generator, TARGET)[None])[0]
    cv2.imwrite(str(FOLDER / "target.jpg"), target[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    main()
