"""dlib's face descriptor in plain PyTorch, so that training can ask whether a reconstruction shows the same person.

Source: King 2017, "High Quality Face Recognition with Deep Metric Learning": a residual network of 29 convolutions on
face chips of 150 px. The chip is cut from an aligned crop by a differentiable resampling at the place where dlib would
cut it, so neither dlib nor its files are needed once `pack_identity` has written what training reads.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from reanimate.errors import MediaError

CHIP_SIDE = 150  # px
DESCRIPTOR_SIZE = 128
# residual blocks as (channels, whether the block halves the resolution), from the picture on
_BLOCKS = (
    *((32, False),) * 3,
    (64, True), *((64, False),) * 3,
    (128, True), *((128, False),) * 2,
    (256, True), *((256, False),) * 2,
    (256, True),
)  # fmt: skip
_CONVOLUTIONS = 1 + 2 * len(_BLOCKS)
_MEAN = (122.782, 117.001, 104.298)  # RGB, 0 to 255
_LAYER = re.compile(rb"\x01[\x04\x05\x07](con_\d|affine_|fc_\d)")  # a layer's name, with its length before it


class Descriptor(nn.Module):
    """Chips [N, 3, 150, 150] in [-1, 1] to descriptors [N, 128]; dlib calls two under 0.6 apart the same person."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        """Raises KeyError, RuntimeError: `weights` is not what `read_descriptor` returns."""
        super().__init__()
        for i in range(_CONVOLUTIONS):
            for part in ("weight", "bias"):
                value = torch.from_numpy(np.array(weights[f"conv{i}_{part}"], np.float32))
                self.register_buffer(f"conv{i}_{part}", value, persistent=False)
        self.register_buffer("last", torch.from_numpy(np.array(weights["last"], np.float32)), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)

    def _conv(self, i: int, x: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        weight, bias = self.get_buffer(f"conv{i}_weight"), self.get_buffer(f"conv{i}_bias")
        return functional.conv2d(x, weight, bias, stride=stride, padding=padding)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = ((chips + 1) * 127.5 - self.get_buffer("mean")) / 256
        x = functional.max_pool2d(functional.relu(self._conv(0, x, 2, 0)), 3, 2)
        for i, (channels, halves) in enumerate(_BLOCKS):
            y = functional.relu(self._conv(2 * i + 1, x, 2 if halves else 1, 0 if halves else 1))
            y = self._conv(2 * i + 2, y, 1, 1)
            if halves:
                x = functional.avg_pool2d(x, 2)
            # dlib adds tensors of different sizes by filling up with zeros, here at the right, below and in channels
            down, across, more = x.shape[2] - y.shape[2], x.shape[3] - y.shape[3], channels - x.shape[1]
            y = functional.pad(y, (0, across, 0, down))
            x = functional.relu(y + functional.pad(x, (0, 0, 0, 0, 0, more)))
        return functional.linear(x.mean((2, 3)), self.get_buffer("last"))


def read_descriptor(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights in dlib's file of its network, each convolution's scale and shift folded into it.

    Raises:
        MediaError: not that file.
    """
    try:
        data = path.read_bytes()
        convolutions: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        weights: dict[str, NDArray[np.float32]] = {}
        at, channels = 0, 3
        while found := _LAYER.search(data, at):
            name = found.group(1)
            at = found.end()
            if name.startswith(b"con_"):
                values, at = _tensor(data, at)
                filters, rows, columns = (_integer_at(data, at, i) for i in range(3))
                count = filters * channels * rows * columns
                convolutions.append((values[:count].reshape(filters, channels, rows, columns), values[count:]))
                channels = filters
            elif name == b"affine_":
                values, at = _tensor(data, at)
                scale, shift = np.split(values, 2)
                weight, bias = convolutions[-1]
                convolutions[-1] = (weight * scale[:, None, None, None], bias * scale + shift)
            else:
                for _ in range(2):  # outputs and inputs, which the tensor tells again
                    _, at = _integer(data, at)
                values, at = _tensor(data, at)
                weights["last"] = values.reshape(channels, DESCRIPTOR_SIZE).T
        for i, (weight, bias) in enumerate(convolutions):
            weights |= {f"conv{i}_weight": weight, f"conv{i}_bias": bias}
        with torch.no_grad():
            Descriptor(weights)(torch.zeros(1, 3, CHIP_SIDE, CHIP_SIDE))  # every name and shape is looked at once
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        raise MediaError(path, "is not dlib's face recognition network") from error
    return weights


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """A whole number and where it ends: a byte with its sign and length, then its bytes from the lowest."""
    length = data[at] & 0x0F
    value = int.from_bytes(data[at + 1 : at + 1 + length], "little")
    return (-value if data[at] & 0x80 else value), at + 1 + length


def _integer_at(data: bytes, at: int, index: int) -> int:
    for _ in range(index):
        _, at = _integer(data, at)
    return _integer(data, at)[0]


def _tensor(data: bytes, at: int) -> tuple[NDArray[np.float32], int]:
    """A tensor's numbers, flat, and where it ends: a version, four sizes, little-endian floats."""
    sizes = []
    for _ in range(5):
        value, at = _integer(data, at)
        sizes.append(value)
    if sizes[0] != 2 or min(sizes) < 0:
        raise ValueError("no tensor")
    count = int(np.prod(sizes[1:], dtype=np.int64))
    return np.frombuffer(data, "<f4", count, at).astype(np.float32), at + 4 * count
