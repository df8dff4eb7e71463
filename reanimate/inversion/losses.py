"""How far a picture is from its target: one number per picture of a batch, with the target's share computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.nn import functional

from reanimate.inversion.features import FaceFeatures, SqueezeNetFeatures, VGG16Features, face_distance

LossName = Literal["multiscale", "features", "vgg16", "squeezenet"]
SMALLEST_SCALE = 8  # px; below, a face is a few blots and L1 only says its mean colour
GRADIENT_WEIGHT = 1.0  # edges weigh as much as surfaces
FACE_WEIGHT = 0.1  # of the own features' distance beside multi-scale pixels; more costs likeness


class Loss(Protocol):
    """Distance to a target."""

    def prepare(self, target: torch.Tensor) -> list[torch.Tensor]:
        """What is needed of targets [N, 3, R, R], computed once."""

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """[N] distances of pictures [N, 3, R, R]; differentiable.

        Where pixels are compared by L1, the gradient is that of L1 rounded off by `softness`: it shrinks for
        differences smaller than that. The distance itself is not rounded.
        """


class MultiScaleLoss:
    """Mean |a - b|^norm of pixels and of their horizontal and vertical differences, at R, R/2, … 8 px, averaged.

    Needs no network. Coarse scales pull a face into place, gradients keep edges where a plain L1 would blur them.
    """

    def __init__(self, norm: int = 1) -> None:
        self.norm = norm

    def prepare(self, target: torch.Tensor, window: torch.Tensor | None = None) -> list[torch.Tensor]:
        """See Loss: the target, and for every scale what pixels and their differences along both axes weigh.

        With a `window` [1, 1, R, R] of mean 1, positions weigh as it says.
        """
        side, channels = target.shape[-1], target.shape[1]
        scales = [target.new_ones(1, 1, side, side) if window is None else window]
        while scales[-1].shape[-1] >= 2 * SMALLEST_SCALE:
            scales.append(functional.avg_pool2d(scales[-1], 2))
        return [target, *(weight / len(scales) for scale in scales for weight in _means(scale, channels))]

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """See Loss."""
        target, *weights = prepared
        difference = (pictures - target).contiguous()
        total = torch.zeros(pictures.shape[0], device=pictures.device)
        for i in range(0, len(weights), 3):
            if i:  # pooling is linear: one difference serves all scales
                difference = functional.avg_pool2d(difference, 2)
            parts = difference, difference.diff(), difference.diff(dim=2)
            for part, weight in zip(parts, weights[i : i + 3], strict=True):
                total = total + _powers(part, self.norm, softness) @ weight
        return total


class FaceLoss:
    """A bundle's own features beside multi-scale pixels, both weighing positions by where faces are in a crop."""

    def __init__(self, network: FaceFeatures, norm: int = 1) -> None:
        self.network, self.pixels = network, MultiScaleLoss(norm)

    def prepare(self, target: torch.Tensor) -> list[torch.Tensor]:
        """See Loss: what pixels are compared with, then the target's features."""
        with torch.no_grad():
            window = self.network.window_at(target.shape[-1])
            return [*self.pixels.prepare(target, window), *self.network(target)]

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """See Loss."""
        maps: list[torch.Tensor] = self.network(pictures)
        pixels = self.pixels(pictures, prepared[: -len(maps)], softness)
        return pixels + FACE_WEIGHT * face_distance(maps, prepared[-len(maps) :])


class FeatureLoss:
    """Mean |a - b|^norm over all features of a perceptual network, flattened and concatenated.

    Source: Gabbay & Hoshen 2019, Eq. 1 and Eq. 6, and their released code.
    """

    def __init__(self, network: nn.Module, norm: int = 1) -> None:
        self.network, self.norm = network, norm

    def prepare(self, target: torch.Tensor) -> list[torch.Tensor]:
        """See Loss: the target's features."""
        with torch.no_grad():
            maps: list[torch.Tensor] = self.network(target)
        return maps

    def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
        """See Loss; a `softness` of pixels says nothing of features."""
        del softness
        maps: list[torch.Tensor] = self.network(pictures)
        sizes = [a[0].numel() for a in prepared]
        terms = [_powers(a - b, self.norm).mean(1) * n for a, b, n in zip(maps, prepared, sizes, strict=True)]
        return torch.stack(terms).sum(0) / sum(sizes)


def make_loss(
    name: LossName,
    norm: int = 1,
    features: Path | None = None,
    device: str = "cpu",
    own: FaceFeatures | None = None,
) -> Loss:
    """A loss by name; `features` is the file of weights that `squeezenet` needs, `own` a bundle's network, which the
    loss named `features` needs.

    Raises:
        WeightsUnavailable: VGG16 is neither cached nor can be fetched.
        MediaError: `features` holds no such weights.
        ValueError: an unknown name, or one without what it needs.
    """
    if name == "multiscale":
        return MultiScaleLoss(norm)
    if name == "features" and own is not None:
        return FaceLoss(own, norm)
    if name == "vgg16":
        return FeatureLoss(VGG16Features().to(device), norm)
    if name == "squeezenet" and features is not None:
        return FeatureLoss(SqueezeNetFeatures(features).to(device), norm)
    raise ValueError(f"no loss named {name!r} can be made")


class _Rounded(torch.autograd.Function):
    """|x|, whose gradient is that of sqrt(x^2 + softness^2).

    Source: Charbonnier et al. 1994, "Two deterministic half-quadratic regularization algorithms for computed imaging".
    Differs in that the value stays |x|, so that what is met on the way can be compared.
    """

    @staticmethod
    def forward(ctx: Any, difference: torch.Tensor, softness: float) -> torch.Tensor:
        """|x|"""
        ctx.save_for_backward(difference / torch.hypot(difference, difference.new_tensor(softness)))
        return difference.abs()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Of x, and of the softness, which has none."""
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


def _powers(difference: torch.Tensor, norm: int, softness: float = 0.0) -> torch.Tensor:
    if norm == 2:
        return difference.square().flatten(1)
    if softness and difference.requires_grad:
        rounded: torch.Tensor = _Rounded.apply(difference, softness)
        return rounded.flatten(1)
    return difference.abs().flatten(1)


def _means(window: torch.Tensor, channels: int) -> list[torch.Tensor]:
    """For a window [1, 1, R, R], what means over the pixels [C · R · R], and over their differences along both axes
    [C · R · (R - 1)], multiply them by: a mean by weights is then one product, which is less work for a CPU.
    """
    parts = (window, GRADIENT_WEIGHT * window[..., :-1], GRADIENT_WEIGHT * window[..., :-1, :])
    return [(part / (channels * part.numel())).expand(1, channels, -1, -1).flatten() for part in parts]
