"""The whole method in one page, without cache or command line: the first frames of source.mp4 move target.jpg.

python examples/01_reanimate.py
"""

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from reanimate.checkpoints.bundle import load_bundle
from reanimate.faces.align import crop
from reanimate.faces.detect import DlibDetector
from reanimate.faces.still import aligned_crop
from reanimate.faces.track import follow, make_track
from reanimate.images import read_image, to_pictures, to_tensor
from reanimate.inversion.clip import ClipInversion
from reanimate.inversion.invert import PRESETS, Inverter
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.motion import apply, decompose
from reanimate.smoothing import smooth
from reanimate.types import Identity, Latents
from reanimate.video import frames, probe, write_video

FOLDER, FRAMES = Path(__file__).parent, 6
source, target = FOLDER / "source.mp4", FOLDER / "target.jpg"

model = load_bundle("faces")
generator = model.generator
inverter = Inverter(generator, model.encoder, MultiScaleLoss(), PRESETS["fast"])

# the face of every frame, upright
info = probe(source)
pictures = list(islice(frames(source, info), FRAMES))
track = make_track(list(follow(pictures, DlibDetector())), info.frame_rate)
crops = [crop(picture, quad, generator.resolution) for picture, quad in zip(pictures, track.quads, strict=True)]

# its code: what the encoder says, an offset that all frames share, and some passes for each frame
clip = ClipInversion(inverter, np.stack(crops), track.detected, track.cuts)
for step in clip.run():
    print(f"{len(clip.solved)} of {clip.num_frames} frames, loss {float(step.solution.loss.mean()):.4f}")

# pose without identity, onto another identity
_, pose = decompose(Latents(clip.variables().numpy(), clip.losses, info.frame_rate))
face = aligned_crop(read_image(target), generator.resolution, target)
identity = Identity(inverter.first(to_tensor(face[None])).ws[0].numpy())
moved = apply(identity, smooth(pose, seconds=0.12))

with torch.no_grad():
    result = to_pictures(generator.synthesis(torch.from_numpy(moved)))
write_video(Path("reanimated.mp4"), iter(result), info, sound_from=None)
print(f"reanimated.mp4: {len(result)} frames, mean loss {clip.losses.mean():.4f}")
