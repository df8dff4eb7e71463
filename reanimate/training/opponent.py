"""The other side of adversarial training: the discriminator, its head on frozen features, and the augmentation."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from reanimate.inversion.features import SqueezeNetFeatures
from reanimate.training.augment import START, Augmentation, changed
from reanimate.training.discriminator import Discriminator, ProjectedHead, r1_penalty

R1_GAMMA = 0.5
R1_EVERY = 16  # steps
R1_SHARE = 2  # one picture in this many of the batch: a lazy penalty needs no more
HEAD_WEIGHT = 0.5
HEAD_LR_SHARE = 0.1  # its weights are not scaled when they run, and what it stands on has been trained already


class Opponent:
    """Learns to tell photographs from generated pictures, and says how well a generator deceives it."""

    def __init__(
        self,
        discriminator: Discriminator,
        features: SqueezeNetFeatures | None,
        lr: float,
        device: str,
        precision: torch.dtype,
        *,
        compiled: bool,
        gamma: float = R1_GAMMA,
        probability: float = START,
    ) -> None:
        self.discriminator = discriminator.to(device).to(memory_format=torch.channels_last)
        self.head = ProjectedHead(features).to(device) if features is not None else None
        self.augmentation = Augmentation(device, probability, compiled=compiled)
        self.device, self.precision, self.gamma = torch.device(device).type, precision, gamma
        lazy = R1_EVERY / (R1_EVERY + 1)  # the penalty's own steps are counted too (Karras et al. 2020, appendix B)
        self.rates = [lr * lazy, lr * HEAD_LR_SHARE]
        learners = [self.discriminator] if self.head is None else [self.discriminator, self.head]
        groups = [{"params": list(learner.parameters())} for learner in learners]
        self.optimiser = torch.optim.Adam(groups, lr, betas=(0.0, 0.99**lazy), fused=True)
        self._judge = torch.compile(self._logits, dynamic=False) if compiled else self._logits

    def _logits(
        self, pictures: torch.Tensor, change: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = changed(pictures, change)
        logits = self.discriminator(pictures, self.precision)
        if self.head is None:
            return logits, torch.zeros_like(logits)
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            return logits, self.head(pictures)

    def _wrongness(self, pictures: torch.Tensor, sign: float, draw: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Mean logistic loss of calling pictures generated (sign 1) or photographs (-1), and the logits."""
        logits, others = self._judge(pictures, self.augmentation.draw(len(pictures), draw))
        loss = functional.softplus(sign * logits).mean()
        if self.head is not None:
            loss = loss + HEAD_WEIGHT * functional.softplus(sign * others).mean()
        return loss, logits

    def doubt(self, fake: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """What a generator minimises: small where generated pictures [N, 3, R, R] pass for photographs."""
        self._learning(False)
        return self._wrongness(fake, -1.0, draw)[0]

    def learn(
        self, real: torch.Tensor, fake: torch.Tensor, draw: torch.Generator, number: int, lr_share: float
    ) -> dict[str, torch.Tensor]:
        """The step of a `number` on photographs and detached generated pictures; every sixteenth adds the penalty."""
        self._learning(True)
        for group, lr in zip(self.optimiser.param_groups, self.rates, strict=False):
            group["lr"] = lr * lr_share
        loss_fake, _ = self._wrongness(fake, 1.0, draw)
        loss_real, logits = self._wrongness(real, -1.0, draw)
        self.augmentation.steer(logits.detach())
        total, losses = loss_fake + loss_real, {"discriminator": (loss_fake + loss_real).detach()}
        if number % R1_EVERY == 0:
            some = real[: max(1, len(real) // R1_SHARE)]
            penalty = r1_penalty(self.discriminator, changed(some, self.augmentation.draw(len(some), draw))).mean()
            total, losses["r1"] = total + penalty * (self.gamma / 2 * R1_EVERY), penalty.detach()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return losses | {"augmentation": self.augmentation.probability.clone()}

    def _learning(self, on: bool) -> None:
        self.discriminator.requires_grad_(on)
        if self.head is not None:
            self.head.requires_grad_(on)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "head": self.head.state_dict() if self.head is not None else {},
            "augmentation": self.augmentation.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.discriminator.load_state_dict(state["discriminator"])
        if self.head is not None:
            self.head.load_state_dict(state["head"])
        self.augmentation.load_state_dict(state["augmentation"])
        self.optimiser.load_state_dict(state["optimiser"])
