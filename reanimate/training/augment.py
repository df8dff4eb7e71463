"""Random changes to everything the discriminator sees, so that it cannot learn a small set by heart.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data": their pixel blitting,
geometric and colour changes, each with probability p, which follows how sure the discriminator is of photographs.
Differs in resampling: one bilinear pass for all geometry, which blurs photographs and generated pictures alike. It
cannot be differentiated twice, so R1 is taken at the changed pictures.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

TARGET = 0.6  # mean sign of the logits of photographs that p is steered to
START = 0.15
LIMIT = 0.8
ADJUST_IMAGES = 100_000.0  # over which p can go from 0 to 1
_LUMA = 1 / math.sqrt(3)
_UNIFORMS, _NORMALS = 21, 7  # that one change needs


class Augmentation(nn.Module):
    """Draws changes with a probability that lies on the device, so that steering it waits for nothing."""

    probability: torch.Tensor
    sureness: torch.Tensor

    def __init__(self, device: str, probability: float = START, *, compiled: bool = False) -> None:
        super().__init__()
        self._changes = torch.compile(_changes, dynamic=False) if compiled else _changes  # hundreds of tiny sums
        self.register_buffer("probability", torch.tensor(probability, device=device))
        self.register_buffer("sureness", torch.tensor(0.0, device=device))

    def steer(self, logits: torch.Tensor) -> None:
        """Move the probability by what the discriminator said of photographs [N]."""
        with torch.no_grad():
            self.sureness.lerp_(logits.sign().mean(), 0.25)
            step = (self.sureness - TARGET).sign() * (len(logits) / ADJUST_IMAGES)
            self.probability.add_(step).clamp_(0, LIMIT)

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One change for each of `count` pictures: where to look [N, 2, 3], and what colours become [N, 3, 4]."""
        return self._changes(
            torch.rand(_UNIFORMS, count, generator=generator, device=generator.device),
            torch.randn(_NORMALS, count, generator=generator, device=generator.device),
            self.probability,
        )


def changed(pictures: torch.Tensor, change: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Pictures [N, 3, R, R] after a drawn change; differentiable once."""
    where, colour = change
    grid = functional.affine_grid(where, list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    flat = torch.baddbmm(colour[:, :, 3:], colour[:, :, :3], moved.flatten(2))
    return flat.view_as(pictures)


class _Draw:
    """Random numbers that are a neutral value unless a coin of probability p falls."""

    def __init__(self, uniforms: torch.Tensor, normals: torch.Tensor, probability: torch.Tensor) -> None:
        self.uniforms, self.normals, self.probability = iter(uniforms.unbind()), iter(normals.unbind()), probability

    def uniform(self) -> torch.Tensor:
        return next(self.uniforms)

    def normal(self) -> torch.Tensor:
        return next(self.normals)

    def perhaps(self, value: torch.Tensor, neutral: float, probability: torch.Tensor | None = None) -> torch.Tensor:
        coin = self.uniform() < (self.probability if probability is None else probability)
        return torch.where(coin, value, neutral)


def _changes(
    uniforms: torch.Tensor, normals: torch.Tensor, probability: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _Draw(uniforms, normals, probability)
    return _geometry(draw), _colour(draw)


def _geometry(draw: _Draw) -> torch.Tensor:
    # blitting: mirrored, turned by quarters, moved
    whole = _matrix(draw.perhaps(1 - 2 * (draw.uniform() < 0.5).float(), 1.0), 1.0, 0.0, 0.0, 0.0)
    whole = whole @ _rotation(draw.perhaps((draw.uniform() * 4).floor() * (math.pi / 2), 0.0))
    coin = draw.uniform() < draw.probability
    dx, dy = (torch.where(coin, (draw.uniform() * 2 - 1) * 0.25, 0.0) for _ in range(2))
    whole = whole @ _matrix(1.0, 1.0, 0.0, dx, dy)
    # geometry: scaled, turned, scaled in one direction, turned again, moved
    scale = draw.perhaps(torch.exp2(draw.normal() * 0.2), 1.0)
    whole = whole @ _matrix(scale, scale, 0.0, 0.0, 0.0)
    either = 1 - (1 - draw.probability).clamp_min(0).sqrt()  # of two rotations, so that one falls with p
    whole = whole @ _rotation(draw.perhaps((draw.uniform() * 2 - 1) * math.pi, 0.0, either))
    stretch = draw.perhaps(torch.exp2(draw.normal() * 0.2), 1.0)
    whole = whole @ _matrix(stretch, 1 / stretch, 0.0, 0.0, 0.0)
    whole = whole @ _rotation(draw.perhaps((draw.uniform() * 2 - 1) * math.pi, 0.0, either))
    coin = draw.uniform() < draw.probability
    dx, dy = (torch.where(coin, draw.normal() * 0.25, 0.0) for _ in range(2))
    return (whole @ _matrix(1.0, 1.0, 0.0, dx, dy))[:, :2]


def _colour(draw: _Draw) -> torch.Tensor:
    device = draw.probability.device
    grey = torch.full((3,), _LUMA, device=device)
    onto_grey = torch.outer(grey, grey)
    identity = torch.eye(3, device=device)
    shift = draw.perhaps(draw.normal() * 0.2, 0.0)
    contrast = draw.perhaps(torch.exp2(draw.normal() * 0.5), 1.0)
    linear = contrast[:, None, None] * identity
    flip = draw.perhaps(1 - 2 * (draw.uniform() < 0.5).float(), 1.0)  # of luma: a mirror at the plane it stands on
    linear = (identity - (1 - flip)[:, None, None] * onto_grey) @ linear
    hue = draw.perhaps((draw.uniform() * 2 - 1) * math.pi, 0.0)[:, None, None]
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=device) * _LUMA
    turned = torch.cos(hue) * identity + torch.sin(hue) * cross + (1 - torch.cos(hue)) * onto_grey
    saturation = draw.perhaps(torch.exp2(draw.normal()), 1.0)[:, None, None]
    mixing = (onto_grey + (identity - onto_grey) * saturation) @ turned
    linear = mixing @ linear
    offset = linear @ (shift[:, None, None] * torch.ones(3, 1, device=device))
    return torch.cat([linear, offset], 2)


def _matrix(
    xx: torch.Tensor | float, yy: torch.Tensor | float, sine: torch.Tensor | float,
    dx: torch.Tensor | float, dy: torch.Tensor | float,
) -> torch.Tensor:  # fmt: skip
    """[N, 3, 3] from entries [N] or numbers, of which at least one is a tensor; `sine` stands off the diagonal."""
    entries = (xx, -sine, dx, sine, yy, dy, 0.0, 0.0, 1.0)
    like = next(e for e in entries if isinstance(e, torch.Tensor))
    full = [e if isinstance(e, torch.Tensor) else torch.full_like(like, e) for e in entries]
    return torch.stack(full, 1).view(-1, 3, 3)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    return _matrix(torch.cos(angle), torch.cos(angle), torch.sin(angle), 0.0, 0.0)
