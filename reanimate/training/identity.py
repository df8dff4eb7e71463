"""Whether a reconstruction shows the same person: dlib's descriptor of the face, beside that of the photograph.

The file is an npz made where dlib is: the network's weights, where dlib cuts each prepared face, and how the network
describes it there. A machine that only trains needs that file alone.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from reanimate.errors import MediaError
from reanimate.training.data import MARGIN, Faces, jittered
from reanimate.training.descriptor import CHIP_SIDE, Descriptor, read_descriptor
from reanimate.types import Float32

FORMAT = "reanimate-identity-1"
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"


class Identity:
    """How far pictures are from the people that they should show."""

    def __init__(self, path: Path, faces: Faces, device: str) -> None:
        """Raises MediaError: `path` is not a file that `pack_identity` made of these faces."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                if str(data["format"]) != FORMAT or str(data["faces"]) != _names_digest(faces):
                    raise ValueError("of other faces")
                weights = {name: data[name] for name in data.files if name.startswith(("conv", "last"))}
                self.network = Descriptor(weights).to(device).to(memory_format=torch.channels_last)
                self.chips = torch.from_numpy(np.array(data["chips"], np.float32)).to(device)
                self.known = torch.from_numpy(np.array(data["descriptors"], np.float32)).to(device)
        except (OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise MediaError(path, "does not fit these faces; remove it to make it again") from error

    def distance(self, pictures: torch.Tensor, alignment: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """[N] squared distances of pictures [N, 3, R, R], aligned by [N, 2, 3], to the photographs of `chosen` faces.

        A mirrored or jittered picture is compared as it was photographed: the chip is cut where the face went.
        """
        found = self.network(cut_chips(pictures, alignment, self.chips[chosen]))
        squared: torch.Tensor = (found.float() - self.known[chosen]).square().sum(1)
        return squared


def cut_chips(pictures: torch.Tensor, alignment: torch.Tensor, chips: torch.Tensor) -> torch.Tensor:
    """Chips [N, 3, 150, 150] of pictures [N, 3, R, R] that show the stored crops at alignments [N, 2, 3]; `chips`
    [N, 2, 3] lead from a chip's coordinates to the stored crop's. Coordinates are in [-1, 1]; differentiable.
    """
    turn, shift = alignment[:, :, :2], alignment[:, :, 2:]
    back = torch.linalg.inv_ex(turn).inverse  # unlike inv, does not wait for the device
    theta = back @ torch.cat([chips[:, :, :2], chips[:, :, 2:] - shift], 2)
    # dlib's chips measure between the centres of their outermost pixels, crops between their edges
    grid = functional.affine_grid(theta, [len(pictures), 3, CHIP_SIDE, CHIP_SIDE], align_corners=True)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def exact_alignment(count: int, device: str | torch.device) -> torch.Tensor:
    """[N, 2, 3] of crops that are not jittered."""
    scale = 1 / MARGIN
    return torch.tensor([[scale, 0.0, 0.0], [0.0, scale, 0.0]], device=device).expand(count, 2, 3)


def pack_identity(faces: Faces) -> Iterator[tuple[int, int, bytes | None]]:
    """Describe every face; yields (done, total, None), and last (total, total, npz bytes).

    Raises:
        ReanimateError: dlib or its weights are missing.
    """
    from reanimate.faces.detect import chip_quads, model_file

    weights = read_descriptor(model_file(WEIGHTS))
    network, total = Descriptor(weights), len(faces.names)
    chips = _placed(chip_quads(faces.landmarks, CHIP_SIDE), faces.resolution)
    described = []
    for start in range(0, total, 32):
        some = slice(start, start + 32)
        with torch.no_grad():
            pictures = jittered(torch.from_numpy(faces.pictures[some]), faces.resolution, None)
            cut = cut_chips(pictures, exact_alignment(len(pictures), "cpu"), torch.from_numpy(chips[some]))
            described.append(network(cut).numpy())
        yield min(total, start + 32), total, None
    buffer = io.BytesIO()
    # half precision changes a distance by a thousandth, and the file has to travel
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    arrays = {"chips": chips, "descriptors": np.concatenate(described), "faces": np.array(_names_digest(faces))}
    np.savez(buffer, format=np.array(FORMAT), **arrays, **halves)  # type: ignore[arg-type]
    yield total, total, buffer.getvalue()


def _names_digest(faces: Faces) -> str:
    return hashlib.sha256("\n".join(faces.names).encode()).hexdigest()


def _placed(quads: Float32, resolution: int) -> Float32:
    """Corners [N, 4, 2] px of the crop as maps [N, 2, 3] from a chip's coordinates to the stored crop's."""
    corners = ((2 * quads + 1) / resolution - 1) / MARGIN  # dlib counts from pixel centres
    centre = corners.mean(1)
    x, y = (corners[:, 3] - corners[:, 0]) / 2, (corners[:, 1] - corners[:, 0]) / 2
    return np.stack([x, y, centre], 2).astype(np.float32)
