"""A trained generator and its encoder grown to twice the resolution: x ≈ G'(c) with one code c per training face.

Blocks below the old resolution stay as they are, and with them what codes mean: who somebody is and what they do. What
draws the old resolution and the new block learn. An encoder's reconstructions lie beside the photographs by more than
the detail that is to be learnt; codes are therefore learnt too, from the encoder's on, as inversion will find them.

Source: Bojanowski et al. 2018, "Optimizing the Latent Space of Generative Networks" (codes learnt beside the network),
and Karras et al. 2018, "Progressive Growing of GANs" (a new block joins without a jolt). Here without an adversary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from reanimate.checkpoints.bundle import Bundle
from reanimate.errors import ConfigError
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.training.average import share_kept, step_share
from reanimate.training.batches import Batches, generator_at
from reanimate.training.data import Faces, sampling_weights
from reanimate.training.identity import exact_alignment
from reanimate.training.likeness import Likeness
from reanimate.training.networks import CHUNK, Networks, networks_of

NEW_LAYERS = 2  # codes that a block adds
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class GrowthConfig:
    """What decides a run's numbers."""

    resolution: int = 128
    """R, px: twice that of the model that is grown."""
    images: int = 40_000
    """Faces shown in all; step sizes fall with their share."""
    batch: int = 16
    faces: int = 3_072
    """How many faces codes are learnt for: each must be seen often enough."""
    generator_lr: float = 5e-3
    """Of the new block."""
    below_lr: float = 1e-3
    """Of the block that drew the old resolution."""
    code_lr: float = 0.05
    """RMS of a step of a face's code; W's own is about 1."""
    encoder_lr: float = 1e-3
    warmup_images: int = 400
    final_lr_share: float = 0.02
    pixel_weight: float = 3.0
    """Of L1 beside the perceptual distance, where a perceptual network is given."""
    identity_weight: float = 2.0
    """Of the descriptor's squared distance, where a descriptor network is given."""
    identity_every: int = 3
    """Batches, of which the descriptor sees one."""
    swap: bool = True
    """Whether eyes and mouth count more than hair; faces do not perform here."""
    ema_images: float = 3_000.0
    """Half-life of the weight average."""
    seed: int = 0


class Growth:
    """The grown networks, the codes, the optimiser, and one step."""

    method = (
        "grown from a trained model by a block, with one learnt code per face and no adversary; W is a Gaussian fitted "
        "to the codes of the training faces"
    )
    last_phase_at = 0.0

    def __init__(self, config: GrowthConfig, faces: Faces, likeness: Likeness, device: str, start: Bundle) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.images, self.likeness = config, device, 0, likeness
        self.networks = grown(start, Batches(faces, config.resolution, device))
        generator, encoder = self.networks.generator, self.networks.encoder
        generator.synthesis_network.requires_grad_(False)
        encoder.requires_grad_(False)
        learning = (_block(generator, config.resolution), _block(generator, config.resolution // 2), encoder.to_offsets)
        self.base_lr = (config.generator_lr, config.below_lr, config.encoder_lr)
        weights = torch.from_numpy(sampling_weights(faces))
        draw = generator_at(config.seed, -1, "cpu")
        count = min(config.faces, int((weights > 0).sum()))
        self.chosen = torch.multinomial(weights, count, generator=draw).to(device)
        w, self.hidden = self._seen()
        self.w = w.unsqueeze(1)
        with torch.no_grad():
            self.codes = self.w + encoder.to_offsets(self.hidden).view(count, -1, generator.w_dim)
        groups = [
            {"params": module.requires_grad_(True).parameters(), "lr": lr}
            for module, lr in zip(learning, self.base_lr, strict=True)
        ]
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)

    def step(self) -> dict[str, torch.Tensor]:
        """One batch; returns its losses as 0-d tensors."""
        config, encoder = self.config, self.networks.encoder
        share = step_share(self.images, config.images, config.batch, config.warmup_images, config.final_lr_share)
        for group, lr in zip(self.optimiser.param_groups, self.base_lr, strict=True):
            group["lr"] = lr * share
        rows = self._rows()
        batch = self.networks.batches.cut(self.chosen[rows], exact_alignment(len(rows), self.device))
        codes = self.codes[rows].requires_grad_(True)
        fake = self.networks.generator.synthesis_network(codes, "none")
        parts = self.likeness.parts(fake, batch, who=self.images // config.batch % config.identity_every == 0)
        total = config.pixel_weight * parts["l1"] + parts.get("features", 0.0)
        if "identity" in parts:
            total = total + config.identity_weight * parts["identity"]
        # what the new layers' codes become, the encoder learns to say; the rows of the others get no gradient
        said = encoder.to_offsets(self.hidden[rows]).view(len(rows), -1, codes.shape[-1])[:, -NEW_LAYERS:]
        parts["said"] = (said - (codes.detach() - self.w[rows])[:, -NEW_LAYERS:]).square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        (total + parts["said"]).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        gradient = codes.grad
        length = gradient.square().mean((1, 2), keepdim=True).sqrt()
        self.codes[rows] -= config.code_lr * share * gradient / (length + TINY)
        self.images += config.batch
        self.networks.average(share_kept(config.batch, self.images, config.ema_images, 0.1))
        return {name: value.detach() for name, value in {"total": total, **parts}.items()}

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": self.networks.state(),
            "optimiser": self.optimiser.state_dict(),
            "codes": self.codes,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        self.networks.restore(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.codes.copy_(state["codes"])
        self.images = state["images"]

    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """See Networks."""
        return self.networks.fit_w(chosen)

    def _rows(self) -> torch.Tensor:
        """The next batch of faces that have codes: all of them, in another order each time."""
        count = len(self.chosen)
        turn, at = divmod(self.images, count)
        orders = [torch.randperm(count, generator=generator_at(self.config.seed, i, "cpu")) for i in (turn, turn + 1)]
        return torch.cat(orders)[at : at + self.config.batch].to(self.device)

    @torch.no_grad()
    def _seen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder sees of the chosen faces, of which only what is made of it changes: w and hidden."""
        networks = self.networks
        chunks = [some.numpy() for some in torch.split(self.chosen.cpu(), CHUNK)]
        seen = [networks.encoder.seen(networks.batches.exact(some)) for some in chunks]
        return torch.cat([w for w, _ in seen]), torch.cat([hidden for _, hidden in seen])


def grown(start: Bundle, batches: Batches) -> Networks:
    """Networks that draw what those of `start` draw, at twice the resolution, which the batches must have.

    Raises:
        ConfigError: `start` has no such networks, or the batches another resolution.
    """
    generator, encoder = networks_of(start)
    known = generator.config
    if batches.resolution != 2 * known.resolution:
        raise ConfigError("resolution", f"a model of {known.resolution} px grows to {2 * known.resolution}")
    shape = replace(known, resolution=2 * known.resolution, channels=(*known.channels, known.channels[-1]))
    networks = Networks(shape, replace(encoder.config, num_ws=shape.num_ws), batches)
    for network in (networks.generator, networks.generator_average):
        torgb = _block(network, shape.resolution).torgb
        network.load_state_dict(network.state_dict() | generator.state_dict())
        nn.init.zeros_(torgb.weight)
    rows = encoder.to_offsets.state_dict()
    more = {f"to_offsets.{k}": torch.cat([v, *[v[-known.w_dim :]] * NEW_LAYERS]) for k, v in rows.items()}
    for network in (networks.encoder, networks.encoder_average):
        network.load_state_dict(encoder.state_dict() | more)
    networks.average(0.0)
    return networks


def _block(generator: StyleGAN2, resolution: int) -> Any:
    return generator.synthesis_network.get_submodule(f"b{resolution}")
