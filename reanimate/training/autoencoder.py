"""A style generator and its encoder trained together without an adversary: x → E(x) → G(E(x)) ≈ x.

W gets its distribution afterwards, from the codes of the training faces: a Gaussian, which the mapping network then
draws from (Gabbay & Hoshen 2019, section 5, train the generator the same way but learn one free code per picture).
Once the perceptual distance counts in full, faces are made to perform, so that codes also learn what they are used for:
the difference of two, read from one face, must move another alike (`swap`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call

from reanimate.checkpoints.bundle import Bundle
from reanimate.generators.stylegan2 import StyleGAN2Config, usual_channels
from reanimate.inversion.encoder import EncoderConfig
from reanimate.inversion.precision import lowered
from reanimate.training.average import share_kept, step_share
from reanimate.training.batches import Batch, Batches, generator_at, joined
from reanimate.training.data import Faces
from reanimate.training.likeness import Likeness
from reanimate.training.networks import Networks
from reanimate.training.swap import exchanged, missed


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """What decides a training run's numbers."""

    resolution: int = 64
    """R, px, a power of two."""
    images: int = 100_000
    """Faces shown in all; the learning rate falls with their share."""
    batch: int = 8
    channel_base: int = 2048
    channel_max: int = 256
    w_dim: int = 512
    first_resolution: int = 32
    """The generator begins with its blocks up to this one, at a third of the cost."""
    grow_at: float = 0.35
    """Share of the images after which the remaining blocks join."""
    generator_lr: float = 5e-3
    encoder_lr: float = 6e-4
    warmup_images: int = 1_000
    final_lr_share: float = 0.02
    pixel_weight: float = 3.0
    """Of L1 beside the perceptual distance, where a perceptual network is given."""
    feature_ramp: tuple[float, float] = (0.15, 0.45)
    """Shares of the images between which the perceptual distance's weight grows from 0 to 1: first where the face is,
    then what it looks like."""
    offset_weight: float = 0.02
    """Keeps the per-layer offsets small, so that codes stay near one w."""
    code_noise: float = 0.05
    """Standard deviation added to w (whose own is kept at 1) once all blocks are in: neighbouring codes must give
    neighbouring faces. Earlier it only hides what the encoder says."""
    identity_weight: float = 2.0
    """Of the descriptor's squared distance, where a descriptor network is given; grows as the perceptual weight."""
    identity_every: int = 3
    """Batches, of which the descriptor sees one: on a CPU it costs as much as half of all the rest."""
    swap: bool = True
    """Whether faces are made to perform once the perceptual distance counts in full, and movements exchanged."""
    moved_weight: float = 6.0
    """Of the difference where a movement that was read from another face changes a picture."""
    ema_images: float = 5_000.0
    """Half-life of the weight average."""
    bfloat16: bool = False
    """Whether convolutions work in bfloat16; weights stay float32."""
    seed: int = 0


class Autoencoder:
    """The networks, the optimiser, and one step."""

    method = "autoencoding without an adversary; W is a Gaussian fitted to the codes of the training faces"

    def __init__(
        self,
        config: AutoencoderConfig,
        faces: Faces,
        likeness: Likeness,
        device: str,
        *,
        compiled: bool,
        start: Bundle | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.images = config, device, 0
        shape = StyleGAN2Config(
            config.resolution,
            usual_channels(config.resolution, config.channel_base, config.channel_max),
            z_dim=config.w_dim,
            w_dim=config.w_dim,
            mapping_layers=1,
            mapping_lr_multiplier=1.0,
            mapping_activation="linear",
        )
        codes = EncoderConfig(config.resolution, shape.num_ws, config.w_dim, config.channel_base, config.channel_max)
        self.likeness = likeness
        self.networks = Networks(shape, codes, Batches(faces, config.resolution, device), start)
        generator, encoder = self.networks.generator, self.networks.encoder
        for resolution in shape.block_resolutions:
            if start is None and resolution > config.first_resolution:  # joins later without a jolt
                torgb = generator.synthesis_network.get_submodule(f"b{resolution}.torgb")
                nn.init.zeros_(torgb.get_parameter("weight"))
        self.networks.average(0.0)  # which begin at these weights
        self.optimiser = torch.optim.Adam(
            [
                {"params": generator.synthesis_network.parameters(), "lr": config.generator_lr},
                {"params": encoder.parameters(), "lr": config.encoder_lr},
            ],
            betas=(0.9, 0.99),
            fused=True,
        )
        self.base_lr = (config.generator_lr, config.encoder_lr)
        self._objective = torch.compile(self._loss) if compiled else self._loss

    def step(self) -> dict[str, torch.Tensor]:
        """One batch; returns its losses as 0-d tensors, so that nothing waits for the device."""
        config = self.config
        draw = generator_at(config.seed, self.images, self.device)
        batch = self.networks.batches.draw(config.batch, draw)
        done = self.images / config.images
        grown = done >= config.grow_at
        noise = torch.randn(config.batch, config.w_dim, generator=draw, device=self.device)
        start, end = config.feature_ramp
        weight = torch.tensor(min(1.0, max(0.0, (done - start) / (end - start))), device=self.device)
        share = step_share(self.images, config.images, config.batch, config.warmup_images, config.final_lr_share)
        for group, lr in zip(self.optimiser.param_groups, self.base_lr, strict=True):
            group["lr"] = lr * share
        self.optimiser.zero_grad(set_to_none=True)  # None also keeps blocks that have not joined where they are
        moved = None
        if config.swap and grown and done >= end:
            batch, moved = self.networks.batches.performed(batch, draw)
        losses: dict[str, torch.Tensor] = self._objective(
            batch,
            moved,
            noise * config.code_noise * grown,
            weight,
            None if grown else config.first_resolution,
            done >= start,
            self.images // config.batch % config.identity_every == 0,
        )
        losses["total"].backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.images += config.batch
        self.networks.average(share_kept(config.batch, self.images, config.ema_images, 0.1))
        return {name: value.detach() for name, value in losses.items()}

    def _loss(
        self,
        batch: Batch,
        moved: Batch | None,
        noise: torch.Tensor,
        weight: torch.Tensor,
        resolution: int | None,
        perceptual: bool,
        who: bool,
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch: of faces as they are and, with `moved`, as they look after another's movement."""
        config, shown = self.config, batch if moved is None else joined(batch, moved)
        precision = torch.bfloat16 if config.bfloat16 else torch.float32
        with torch.autocast(noise.device.type, precision, enabled=config.bfloat16):
            w, offsets = (part.float() for part in self.networks.encoder.parts(shown.pictures))
        codes = w.unsqueeze(1) + offsets
        start = codes[: len(noise)] + noise.unsqueeze(1)
        if moved is not None:
            start = torch.cat([start, start + exchanged(codes[len(noise) :] - codes[: len(noise)])])
        network = self.networks.generator.synthesis_network
        weights = lowered(network) if config.bfloat16 else {}  # instead of its own
        fake = functional_call(network, weights, (start, "none", resolution))
        parts = self.likeness.parts(fake, shown, precision, seeing=perceptual, who=who)
        size, offset = (w.square().mean() - 1).square(), offsets.square().mean()
        total = config.pixel_weight * parts["l1"] + 0.1 * size + config.offset_weight * offset
        for name, share in (("features", 1.0), ("identity", config.identity_weight)):
            if name in parts:
                total = total + weight * share * parts[name]
        if moved is not None:
            parts["moved"] = missed(fake[len(noise) :], batch, moved)
            total = total + config.moved_weight * parts["moved"]
        return {"total": total, "offset": offset, **parts}

    @property
    def last_phase_at(self) -> float:
        """Share of the images after which the objective stays as it is."""
        return max(self.config.grow_at, self.config.feature_ramp[1])

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": self.networks.state(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        self.networks.restore(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.images = state["images"]

    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """See Networks."""
        return self.networks.fit_w(chosen)
