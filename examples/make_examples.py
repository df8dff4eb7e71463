"""How source.mp4 and target.jpg were made: two people who do not exist, one of whom turns, talks and blinks.

Random faces are drawn from the embedded model, their head turn, mouth and eyes are measured on landmarks, and three
directions in W that change them are fitted by least squares. The source moves along these; a hum follows its mouth.

The two files beside this script were drawn by an earlier state of that model; the present one draws others.

    python examples/make_examples.py
"""

from __future__ import annotations

import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from reanimate.checkpoints.bundle import load_bundle
from reanimate.faces.detect import DlibDetector
from reanimate.generators.protocol import Generator
from reanimate.images import resize, to_pictures
from reanimate.training.data import yaw_and_mouth
from reanimate.types import UInt8, VideoInfo
from reanimate.video import write_video

FOLDER = Path(__file__).parent
SIDE = 256  # px; enlarged, so that the detector has something to see
FACES, PSI = 400, 0.7
TRIALS, STEP = 12, 8.0  # faces on which a direction is calibrated, and how far each way, W units
SOURCE_SEED, TARGET_SEED = 3, 15
RATE, SECONDS = Fraction(25), 3


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """[N] height of the eyes over their width, for landmarks [N, 68, 2]."""
    heights = [np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) for a, b in ((37, 41), (38, 40), (43, 47))]
    return np.mean(heights, 0) / np.linalg.norm(landmarks[:, 36] - landmarks[:, 39], axis=-1)


def draw(generator: Generator, w: torch.Tensor) -> UInt8:
    """[N, SIDE, SIDE, 3] for codes w [N, D]."""
    with torch.no_grad():
        pictures = to_pictures(generator.synthesis(w.unsqueeze(1).repeat(1, generator.num_ws, 1)))
    return np.stack([resize(picture, SIDE, SIDE) for picture in pictures])


def sample(generator: Generator, seed: int, count: int = 1) -> torch.Tensor:
    """[count, D] random codes."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z, truncation_psi=PSI)[:, 0]


def attributes(generator: Generator, w: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """[M, 3] yaw, mouth and eye opening of the faces that are seen among codes w [N, D], and which those are [M]."""
    found = [DlibDetector().detect(picture, thorough=False) for picture in draw(generator, w)]
    seen = np.array([i for i, faces in enumerate(found) if faces])
    landmarks = np.stack([found[i][0].landmarks for i in seen])
    return np.stack([*yaw_and_mouth(landmarks), eye_opening(landmarks)], 1), seen


def directions(generator: Generator) -> torch.Tensor:
    """[3, D]: adding one turns the head, opens the mouth or opens the eyes by one unit of its measure."""
    w = sample(generator, 0, FACES)
    measured, seen = attributes(generator, w)
    y = (measured - measured.mean(0)) / measured.std(0)
    x = (w[seen] - w[seen].mean(0)).double().numpy()
    # covariance of code and attribute: the way codes of such faces lie, not the shortest way to fool a landmark
    along = x.T @ y / len(y)
    ways = torch.from_numpy((along @ np.linalg.pinv((x @ along).T @ y / len(y))).T).float()
    ways = ways / ways.norm(dim=1, keepdim=True)
    slopes = []
    for i, way in enumerate(ways):
        ends = [attributes(generator, w[:TRIALS] + sign * STEP * way)[0][:, i].mean() for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * STEP))
    print(f"{len(seen)} of {FACES} faces seen; yaw, mouth and eyes per unit of W: {np.round(slopes, 4)}")
    return ways / torch.tensor(slopes, dtype=torch.float32)[:, None]


def performance(frames: int) -> np.ndarray:
    """[frames, 3] yaw, mouth and eye opening over time, in the units of `attributes`, off the resting face."""
    t = np.arange(frames) / frames
    yaw = 0.22 * np.sin(2 * np.pi * t)
    talk = np.clip(np.sin(2 * np.pi * 5 * t), 0, 1) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t))
    blink = -0.03 * sum(np.exp(-(((t - at) / 0.025) ** 2)) for at in (0.3, 0.8))
    return np.stack([yaw, 0.1 * talk - 0.02, blink], 1)


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
    w = sample(generator, SOURCE_SEED) + torch.from_numpy(moves).float() @ directions(generator)
    info = VideoInfo(SIDE, SIDE, frames, RATE, has_audio=False)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "hum.wav"
        hum(moves[:, 1], sound)
        write_video(FOLDER / "source.mp4", iter(draw(generator, w)), info, sound_from=sound)
    target = draw(generator, sample(generator, TARGET_SEED))[0]
    cv2.imwrite(str(FOLDER / "target.jpg"), target[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    main()
