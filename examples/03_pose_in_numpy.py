"""A pose file is numpy arrays and a line of JSON: make one, play it backwards and twice as strong with numpy alone.

python examples/03_pose_in_numpy.py
"""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from reanimate.checkpoints.bundle import load_bundle
from reanimate.images import sheet, to_pictures, write_image
from reanimate.pose_file import save_pose
from reanimate.types import PoseDeltas

model = load_bundle("faces")
generator = model.generator

# a performance need not come from a video: here, a slow walk between two random faces
z = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(0))
ends = generator.mapping(z, truncation_psi=0.5)
path = torch.lerp(ends[:1], ends[1:], torch.linspace(-1, 1, 8).view(-1, 1, 1)).numpy()
offsets = path - path.mean(0)
scale = float(np.sqrt(np.square(offsets).mean()))
save_pose(Path("pose.npz"), PoseDeltas(offsets / scale, scale, Fraction(25), model.card.digest))

# from here on numpy is enough
with np.load("pose.npz", allow_pickle=False) as file:
    deltas, header = file["deltas"], json.loads(str(file["header"]))
backwards = generator.w_avg.numpy() + 2.0 * header["scale"] * deltas[::-1]

with torch.no_grad():
    pictures = to_pictures(generator.synthesis(torch.from_numpy(backwards.astype(np.float32))))
write_image("backwards.png", sheet([list(pictures)]), synthetic=True)
print(f"backwards.png: {len(pictures)} frames at {header['frame_rate']} per second")
