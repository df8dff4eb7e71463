"""Perceptual networks: pictures to lists of feature maps.

The weights of FaceFeatures are this project's own and part of a bundle; none of the others' are in this package.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from reanimate.errors import MediaError, WeightsUnavailable
from reanimate.generators.frozen import Frozen
from reanimate.images import to_tensor
from reanimate.types import UInt8

_SQUEEZENET_MEAN = (122.679, 116.669, 104.006)  # RGB, 0 to 255
_FIRE_AFTER_POOL = (2, 4, 6)  # fire modules that a max-pool precedes
_SQUEEZENET_TAPS = (3, 5, 6, 7, 8, 9)
# of an unreadable archive, of a missing name, of a wrong shape
_NO_WEIGHTS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, AttributeError, RuntimeError)

_VGG_LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0 is a max-pool
_VGG_TAPS = (2, 4, 7, 10, 13)  # conv1_2, conv2_2, conv3_3, conv4_3, conv5_3, counted in convolutions
WINDOW_SIDE = 64  # px
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet 1.1 trained on ImageNet, from an npz of its weights: features after conv1 and fire 3, 5, 6, 7, 8, 9.

    Source: Iandola et al. 2016, "SqueezeNet".
    """

    mean: torch.Tensor

    def __init__(self, path: Path) -> None:
        """Raises MediaError: `path` is not an npz that holds these weights."""
        super().__init__()
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                for name in data.files:
                    value = torch.from_numpy(np.array(data[name], np.float32))
                    self.register_buffer(name.replace(".", "_"), value, persistent=False)
            self.register_buffer("mean", torch.tensor(_SQUEEZENET_MEAN).view(1, 3, 1, 1), persistent=False)
            with torch.no_grad():
                self(torch.zeros(1, 3, 64, 64))  # every name and shape is looked at once
        except _NO_WEIGHTS as error:
            raise MediaError(path, "not an npz of SqueezeNet 1.1 weights") from error

    def _conv(self, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        weight, bias = (self.get_buffer(f"{name}_{part}".replace(".", "_")) for part in ("weight", "bias"))
        return functional.relu(functional.conv2d(x, weight, bias, stride=stride, padding=padding))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Seven maps [N, C, H, W] for pictures [N, 3, R, R] in [-1, 1]."""
        x = self._conv("conv1", (pictures + 1) * 127.5 - self.mean, stride=2)
        maps = [x]
        for i in range(2, 10):
            if i in _FIRE_AFTER_POOL:
                x = functional.max_pool2d(x, 3, 2)
            squeezed = self._conv(f"fire{i}.squeeze1x1", x)
            x = torch.cat(
                [self._conv(f"fire{i}.expand1x1", squeezed), self._conv(f"fire{i}.expand3x3", squeezed, padding=1)], 1
            )
            if i in _SQUEEZENET_TAPS:
                maps.append(x)
        return maps


def weighted_mean(values: torch.Tensor, window: torch.Tensor | None) -> torch.Tensor:
    """[N] mean over positions of values [N, H, W], by the weights of a window [1, 1, W, W] where there is one."""
    if window is None:
        return values.mean((1, 2))
    weights = functional.interpolate(window, size=values.shape[1:], mode="area")[:, 0]
    return (values * weights).sum((1, 2)) / weights.sum()


def feature_distance(a: list[torch.Tensor], b: list[torch.Tensor], window: torch.Tensor | None = None) -> torch.Tensor:
    """[N] LPIPS without its learned weights: unit channel vectors, squared difference, mean over positions, which a
    window [1, 1, W, W] may weight, summed.
    """
    total = torch.zeros(a[0].shape[0], device=a[0].device)
    for x, y in zip(a, b, strict=True):
        x = x * (x.square().sum(1, keepdim=True) + 1e-10).rsqrt()
        y = y * (y.square().sum(1, keepdim=True) + 1e-10).rsqrt()
        total = total + weighted_mean((x - y).square().sum(1), window)
    return total


@torch.no_grad()
def picture_distances(a: UInt8, b: UInt8, network: SqueezeNetFeatures, batch: int = 16) -> NDArray[np.float32]:
    """[N] `feature_distance` of pictures [N, R, R, 3], `batch` at a time."""
    parts = []
    for first in range(0, len(a), batch):
        maps = [network(to_tensor(side[first : first + batch]).to(network.mean.device)) for side in (a, b)]
        parts.append(feature_distance(*maps).cpu().numpy())
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class FaceFeaturesConfig:
    """Sizes of the own features, from stride 2 on."""

    widths: tuple[int, ...] = (32, 64, 128, 192)
    outputs: tuple[int, ...] = (32, 48, 64, 96)

    @property
    def fewest_weights(self) -> int:
        """Numbers that a network of these sizes holds at the least: its largest layers'."""
        return sum(9 * before * after for before, after in pairwise(self.widths))


class FaceFeatures(nn.Module):
    """A small network of this project's own that sees aligned faces as a large perceptual network does.

    Its maps, at strides 2, 4, 8 and 16, are compared as they are: a large network's features at unit length were its
    teacher (see training.distil). `window` says where in a crop faces are; maps fade outside it.
    """

    window: torch.Tensor

    def __init__(self, config: FaceFeaturesConfig) -> None:
        super().__init__()
        self.config = config
        self._faces_only = False
        self._windows: dict[tuple[int, bool], Frozen[torch.Tensor]] = {}
        self.register_buffer("window", torch.ones(1, 1, WINDOW_SIDE, WINDOW_SIDE))
        for i, (before, after) in enumerate(pairwise((3, *config.widths))):
            self.add_module(f"down{i}", nn.Conv2d(before, after, 3, stride=2))
            if i:  # at the first stride most of the cost would lie
                self.add_module(f"same{i}", nn.Conv2d(after, after, 3, padding=1))
            self.add_module(f"tap{i}", nn.Conv2d(after, config.outputs[i], 1))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Four maps [N, C, H, W] for pictures [N, 3, R, R] in [-1, 1], R at least 32."""
        return [x * self.window_at(x.shape[-1], root=True) for x in self.maps(pictures)]

    def maps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """The maps before the window."""
        x, maps = pictures.to(self.get_parameter("down0.weight").dtype), []
        for i in range(len(self.config.widths)):
            x = functional.relu(self.get_submodule(f"down{i}")(x))
            if i:
                x = x + functional.relu(self.get_submodule(f"same{i}")(x))
            maps.append(self.get_submodule(f"tap{i}")(x).float())
        return maps

    def on_faces(self) -> FaceFeatures:
        """The same network, whose maps hold nothing where the window is lowest: around a face."""
        other = copy.copy(self)
        other._faces_only, other._windows = True, {}
        return other

    def window_at(self, side: int, *, root: bool = False) -> torch.Tensor:
        """[1, 1, side, side] with mean 1, for pixels, or its square root, for maps."""

        def compute() -> torch.Tensor:
            window = functional.interpolate(self.window, size=(side, side), mode="area")
            window = window / window.mean()
            if not root:
                return window
            low, high = window.aminmax()
            if self._faces_only and low < high:
                window = (window - low) * high / (high - low)
            return window.sqrt()

        return self._windows.setdefault((side, root), Frozen()).of([self.window], compute)


def face_distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """[N] squared difference of maps, summed over channels, mean over positions, summed over maps."""
    return torch.stack([(x - y).square().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]).sum(0)


def fetched_weights(what: str, url: str) -> dict[str, torch.Tensor]:
    """Weights at an address that torchvision or torch names, kept in torch's own cache and fetched there once.

    Raises:
        WeightsUnavailable: `what` needs them, and they are not cached and cannot be fetched.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch says there what it downloads; results are for stdout
            weights: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, progress=False
            )
    # RuntimeError is torch's word for a digest that does not match
    except (OSError, RuntimeError, UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsUnavailable(what, url, reason) from error
    return weights


class VGG16Features(nn.Module):
    """The VGG16 features of the paper: conv1_2, conv2_2, conv3_3, conv4_3 and conv5_3, before their ReLU, at 256 px.

    Source: Simonyan & Zisserman 2015; layers and nearest-neighbour resizing as in Gabbay & Hoshen 2019. Weights are
    torchvision's, kept in torch's own cache and fetched there once.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        """Raises WeightsUnavailable: the weights are not cached and cannot be fetched."""
        super().__init__()
        from torchvision.models import VGG16_Weights

        weights = fetched_weights("the VGG16 loss", VGG16_Weights.IMAGENET1K_V1.url)
        convolutions = [name.removesuffix(".weight") for name in weights if name.startswith("features.")][::2]
        for i, name in enumerate(convolutions, 1):
            self.register_buffer(f"weight{i}", weights[f"{name}.weight"], persistent=False)
            self.register_buffer(f"bias{i}", weights[f"{name}.bias"], persistent=False)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Five maps [N, C, H, W] for pictures [N, 3, R, R] in [-1, 1]."""
        x = ((pictures + 1) / 2 - self.mean) / self.std
        if x.shape[-1] != 256:
            x = functional.interpolate(x, size=256, mode="nearest")
        maps, index = [], 0
        for channels in _VGG_LAYERS:
            if channels == 0:
                x = functional.max_pool2d(x, 2)
                continue
            index += 1
            x = functional.conv2d(x, self.get_buffer(f"weight{index}"), self.get_buffer(f"bias{index}"), padding=1)
            if index in _VGG_TAPS:
                maps.append(x)
            x = functional.relu(x)
        return maps
