"""Heads that turn: a photograph is taken for a view of a rounded block with a nose, which is seen from elsewhere.

What lies in front hides what lies behind, as in relief mapping (Policarpo et al. 2005, "Real-Time Relief Mapping on
Arbitrary Polygonal Surfaces"): every ray goes into the head until it meets it. Differs in that the relief is a formula.
Lengths are eye spans: the distance between the outer corners of the eyes seen from the front.
"""

from __future__ import annotations

import torch

HALF = (1.05, 1.4)  # width and height of the head
BEND = (3, 4)  # powers of the distance from its middle that depth falls with: a face is flat, its sides bend away
DEPTH, NOSE, NOSE_WIDTH = 1.1, 0.36, 0.22
TIP = 0.47  # of the nose before the corners of the eyes
BEHIND = 1.0  # the eyes, that the middle of the head is
MOST = 0.7  # sine of the angle that a photographed head is thought to be turned by
AROUND = 2.2  # sizes of the head, beyond which nothing turns with it
STEPS, HALVED = 12, 5  # into the head, until it is met, and how often the last one is halved


class Relief:
    """Heads in pictures, by their eyes [N, 2], the direction [N, 2] from one to the other, the eye span [N], and where
    mouth and tip of the nose are, [N, 2] each. They turn about the middle between the eyes, which alignment holds.
    """

    def __init__(
        self, eyes: torch.Tensor, axis: torch.Tensor, span: torch.Tensor, mouth: torch.Tensor, tip: torch.Tensor
    ) -> None:
        self._eyes, self._span = eyes[:, None], span[:, None, None]
        self._axes = torch.stack([axis, torch.stack([-axis[:, 1], axis[:, 0]], -1)], 1)  # [N, 2, 2]: right, down
        self._tip, mouth = self._own(tip[:, None]), self._own(mouth[:, None])
        # of a head that is turned already the middle is not behind the eyes: the nose says how far it is beside them
        turned = (self._tip[..., 0] / TIP).clamp(-MOST, MOST)
        self.yaw, beside = turned[:, 0].arcsin(), -BEHIND * turned
        self._middle = torch.stack([beside, mouth[..., 1] / 2], -1)
        self._level = self._height(torch.zeros_like(self._eyes))

    def turned(self, places: torch.Tensor, yaw: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        """[N, P, 2] where places of the photograph are when the head has turned, though something may hide them."""
        own, (sine, cosine) = self._own(places), _turns(yaw, pitch)
        moved = own * cosine + self._depth(own)[..., None] * sine
        return self._shown(torch.lerp(moved, own, self._apart(moved)))

    def source(self, places: torch.Tensor, yaw: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        """[N, P, 2] where in the photograph is what is seen at places when the head has turned."""
        own, (sine, cosine) = self._own(places), _turns(yaw, pitch)

        def at(depth: torch.Tensor) -> torch.Tensor:
            return (own - depth[..., None] * sine) / cosine

        step = (DEPTH + NOSE) / STEPS  # from in front of all noses to what lies behind the head, which is flat
        depth = (DEPTH + NOSE - self._level).expand_as(own[..., 0])
        met = torch.zeros_like(depth, dtype=torch.bool)
        for _ in range(STEPS):
            met |= self._depth(at(depth - step)) >= depth - step
            depth = torch.where(met, depth, depth - step)
        for _ in range(HALVED):
            step /= 2
            depth = torch.where(self._depth(at(depth - step)) >= depth - step, depth, depth - step)
        came = at(depth - step / 2)
        return self._shown(torch.lerp(came, own, self._apart(own)))

    def _own(self, places: torch.Tensor) -> torch.Tensor:
        """Places as eye spans to the right of the middle between the eyes and below it."""
        return (places - self._eyes) @ self._axes.mT / self._span

    def _shown(self, own: torch.Tensor) -> torch.Tensor:
        """The reverse of _own."""
        return own @ self._axes * self._span + self._eyes

    def _out(self, own: torch.Tensor) -> torch.Tensor:
        """[N, P, 2] how far from the middle of the head, in its halves."""
        return ((own - self._middle) / own.new_tensor(HALF)).abs()

    def _depth(self, own: torch.Tensor) -> torch.Tensor:
        """[N, P] how far in front of the middle between the eyes what is seen at places is."""
        return self._height(own) - self._level

    def _height(self, own: torch.Tensor) -> torch.Tensor:
        x, y = self._out(own).unbind(-1)
        nose = torch.exp(-((own - self._tip) / NOSE_WIDTH).square().sum(-1) / 2)
        return DEPTH * (1 - x.pow(BEND[0]) - y.pow(BEND[1])).clamp_min(0) + NOSE * nose

    def _apart(self, own: torch.Tensor) -> torch.Tensor:
        """[N, P, 1] how little places belong to the head."""
        out: torch.Tensor = self._out(own).pow(BEND[0]).sum(-1, keepdim=True).pow(1 / BEND[0])
        share = ((out - 1) / (AROUND - 1)).clamp(0, 1)
        return share * share * (3 - 2 * share)


def _turns(yaw: torch.Tensor, pitch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, 1, 2] sines and cosines."""
    angles = torch.stack([yaw, pitch], -1)[:, None]
    return angles.sin(), angles.cos()
