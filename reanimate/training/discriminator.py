"""What tells photographs from generated pictures, in adversarial training only: never part of a bundle.

Source: the residual discriminator of Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", with
the minibatch deviation of Karras et al. 2018, "Progressive Growing of GANs". The head on frozen features follows Sauer
et al. 2021, "Projected GANs Converge Faster"; differs in having one head per map and no random mixing of channels.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.mapping import SQRT2, FullyConnected
from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.mixed import filtered

GROUP = 4  # pictures that minibatch deviation compares
HEAD_WIDTH = 64
HEAD_MAPS = (1, 2, 6)  # of the perceptual network's maps: strides 4, 8 and 16


class _Convolution(nn.Module):
    """A convolution whose weight is stored at unit scale; works in the precision of what it is given."""

    def __init__(self, before: int, after: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.gain = 1 / math.sqrt(before * kernel * kernel)

    def forward(self, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        bias = self.bias.to(x.dtype) if self.bias is not None else None
        return functional.conv2d(x, (self.weight * self.gain).to(x.dtype), bias, stride=stride, padding=padding)


def _active(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.2) * SQRT2


class _Block(nn.Module):
    """Two convolutions, the second halving the resolution, beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv0 = _Convolution(before, before, 3)
        self.conv1 = _Convolution(before, after, 3)
        self.skip = _Convolution(before, after, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = _active(self.conv0(x, padding=1))
        y = _active(self.conv1(filtered(y, 2), stride=2))
        shortcut: torch.Tensor = self.skip(filtered(x, 1, 2))
        return (y + shortcut) / SQRT2


class Discriminator(nn.Module):
    """Pictures [N, 3, R, R] to logits [N]: positive means a photograph."""

    def __init__(self, resolution: int, channels: tuple[int, ...]) -> None:
        """`channels` of the blocks at 4, 8, … `resolution` px; see `usual_channels`."""
        super().__init__()
        downwards = channels[::-1]
        self.from_rgb = _Convolution(3, downwards[0], 1)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(downwards)))
        self.last = _Convolution(channels[0] + 1, channels[0], 3)
        self.hidden = FullyConnected(channels[0] * 16, channels[0])
        self.logit = FullyConnected(channels[0], 1)

    def forward(self, pictures: torch.Tensor, precision: torch.dtype = torch.float32) -> torch.Tensor:
        """See the class; convolutions work in `precision`, what follows them in float32."""
        x = self.blocks(_active(self.from_rgb(pictures.to(precision)))).float()
        x = _active(self.last(torch.cat([x, _deviation(x)], 1), padding=1))
        logits: torch.Tensor = self.logit(_active(self.hidden(x.flatten(1))))
        return logits[:, 0]


def _deviation(x: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] how much the pictures of a group differ: a generator that repeats itself is found out."""
    count, _, height, width = x.shape
    groups = max(1, count // GROUP) if count % GROUP == 0 else 1
    members = x.reshape(count // groups, groups, -1)
    deviation = (members.var(0, correction=0) + 1e-8).sqrt().mean(1)
    return deviation.repeat(count // groups).view(count, 1, 1, 1).expand(-1, -1, height, width)


class ProjectedHead(nn.Module):
    """Pictures [N, 3, R, R] to logits [N], by what a frozen perceptual network sees; R at least 32."""

    def __init__(self, features: SqueezeNetFeatures) -> None:
        super().__init__()
        self.features = features  # holds buffers that are not saved, and nothing to learn
        with torch.no_grad():
            maps = features(torch.zeros(1, 3, 32, 32, device=features.mean.device))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(maps[i].shape[1], HEAD_WIDTH, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(HEAD_WIDTH, HEAD_WIDTH, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(HEAD_WIDTH, 1, 1),
            )
            for i in HEAD_MAPS
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        maps = self.features(pictures)
        logits = [head(_unit(maps[i])).float().mean((1, 2, 3)) for i, head in zip(HEAD_MAPS, self.heads, strict=True)]
        return torch.stack(logits).mean(0)


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Channels at unit second moment, whatever the perceptual network's scale."""
    return x * (x.square().mean(1, keepdim=True) + 1e-4).rsqrt()


def r1_penalty(discriminator: Discriminator, real: torch.Tensor) -> torch.Tensor:
    """[N] squared length of the logit's gradient at photographs [N, 3, R, R]; differentiable once more.

    Source: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?".
    """
    pictures = real.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(pictures).sum(), pictures, create_graph=True)
    return gradient.square().sum((1, 2, 3))
