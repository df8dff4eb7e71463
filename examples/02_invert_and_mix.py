"""A face as a code: invert target.jpg, then give its coarse layers to a random face and the other way round.

python examples/02_invert_and_mix.py
"""

from pathlib import Path

import torch

from reanimate.checkpoints.bundle import load_bundle
from reanimate.faces.still import aligned_crop
from reanimate.images import read_image, sheet, to_pictures, to_tensor, write_image
from reanimate.inversion.invert import PRESETS, Inverter
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.mixing import exchange

COARSE = range(4)  # layers up to 8 px: where the head is and how it is shaped
target = Path(__file__).parent / "target.jpg"

model = load_bundle("faces")
generator = model.generator
crop = aligned_crop(read_image(target), generator.resolution, target)
solution = Inverter(generator, model.encoder, MultiScaleLoss(), PRESETS["fast"]).first(to_tensor(crop[None]))

z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(3))
stranger = generator.mapping(z, truncation_psi=0.7)
mixed = [exchange(stranger, solution.ws, COARSE), exchange(solution.ws, stranger, COARSE)]

with torch.no_grad():
    pictures = to_pictures(generator.synthesis(torch.cat([solution.ws, stranger, *mixed])))
write_image("mixed.png", sheet([[crop, *pictures]]), synthetic=True)
print(f"mixed.png: crop, reconstruction (loss {float(solution.loss[0]):.4f}), stranger, and the two mixed")
