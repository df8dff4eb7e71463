"""How steps shrink over a run, and the running average of a network's weights, which is what a trained model ships."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def averaged(network: Network) -> Network:
    """A frozen copy that `follow` keeps up to date."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def follow(average: nn.Module, current: nn.Module, keep: float) -> None:
    """Move an average towards the current weights, of which it takes 1 - `keep`; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - keep)
    for mean, value in zip(average.buffers(), current.buffers(), strict=True):
        mean.copy_(value)


def share_kept(batch: int, images: int, half_life: float, ramp: float) -> float:
    """How much of an average survives a step: its half-life, images, grows with what was seen by `ramp`, so that the
    first random weights are soon forgotten.
    """
    return float(0.5 ** (batch / max(min(half_life, ramp * images), 1e-8)))


def step_share(images: int, of: int, batch: int, warmup: int, least: float) -> float:
    """Share of the full step size after `images` `of` all: a ramp over `warmup` of them, half a cosine to `least`."""
    ramp = min(1.0, (images + batch) / warmup)
    return ramp * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(1.0, images / of))))
