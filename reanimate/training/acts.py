"""What faces of a batch are made to do in training."""

from __future__ import annotations

from dataclasses import fields

import torch

from reanimate.faces.puppet import Act

WIDEST = 0.35  # gap between lips


def draw_acts(gap: torch.Tensor, mirrored: torch.Tensor, draw: torch.Generator) -> tuple[Act, Act]:
    """What faces do before and after, N an even number, of which 2k and 2k + 1 move alike.

    `gap` [N] is that of the lips in the photographs; `mirrored` [N] faces turn the other way in theirs.
    """
    count, device = len(gap), draw.device

    def shared(low: float, high: float) -> torch.Tensor:
        drawn = torch.rand(count // 2, generator=draw, device=device).repeat_interleave(2)
        return low + (high - low) * drawn

    def moves(chance: float) -> torch.Tensor:
        return shared(0, 1) < chance

    moving, wide = moves(0.7), WIDEST * shared(0, 1).square()
    mouth = torch.where(moving & moves(0.5), WIDEST * shared(0, 1).square(), gap)
    further = torch.where(mouth == gap, (gap + shared(-0.25, 0.25)).clamp(0, WIDEST), wide)
    nothing, side = torch.zeros_like(gap), 1 - 2 * mirrored.to(gap.dtype)
    lids = moves(0.4)
    before = Act(mouth, shared(0, 1) * (lids & moves(0.3)), nothing, nothing, nothing, nothing)
    after = Act(
        torch.where(moving, further, gap),
        torch.where(lids, shared(-0.3, 1.0), before.lids),
        shared(-0.08, 0.1) * moves(0.4),
        shared(-0.05, 0.06) * moves(0.3),
        shared(-0.3, 0.3) * moves(0.6) * side,
        shared(-0.2, 0.2) * moves(0.4),
    )
    back = moves(0.5)
    names = [field.name for field in fields(Act)]
    old, new = ([getattr(act, name) for name in names] for act in (before, after))
    first = Act(*(torch.where(back, b, a) for a, b in zip(old, new, strict=True)))
    return first, Act(*(torch.where(back, a, b) for a, b in zip(old, new, strict=True)))
