"""A style generator and its encoder trained together without an adversary: x → E(x) → G(E(x)) ≈ x.

W gets its distribution afterwards, from the codes of the training faces: a Gaussian, which the mapping network then
draws from (Gabbay & Hoshen 2019, section 5, train the generator the same way but learn one free code per picture).
On request, once the perceptual distance counts in full, reconstructions must also have the head pose and expression of
their photographs, and one batch in four asks for what codes are used for: the difference of two (`swap`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from reanimate.checkpoints.bundle import Bundle
from reanimate.generators.stylegan2 import StyleGAN2Config, usual_channels
from reanimate.inversion.encoder import EncoderConfig
from reanimate.training.average import share_kept
from reanimate.training.batches import Batch, Batches, generator_at
from reanimate.training.data import Faces
from reanimate.training.likeness import Likeness
from reanimate.training.networks import Networks
from reanimate.training.swap import SWAP_EVERY, Swap


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
    identity_weight: float = 1.0
    """Of the descriptor's squared distance, where a descriptor network is given; grows as the perceptual weight."""
    swap: bool = False
    """Whether landmarks teach, weakly: reconstructions their pose, and one batch in four what differences do."""
    pose_weight: float = 0.5
    """Of the difference in head pose and expression between a photograph and its reconstruction."""
    swap_pose_weight: float = 0.5
    swap_identity_weight: float = 0.2
    pose_steps: int = 1_500
    """Batches that the pose network learns from, once."""
    ema_images: float = 5_000.0
    """Half-life of the weight average."""
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
        self.swap = Swap(faces, self.networks.batches, likeness.person, config.pose_steps, config.seed)
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
        for group, lr in zip(self.optimiser.param_groups, self.base_lr, strict=True):
            group["lr"] = lr * self._lr_share()
        self.optimiser.zero_grad(set_to_none=True)  # None also keeps blocks that have not joined where they are
        posed = config.swap and done >= end
        if posed:
            self.swap.teach()
        losses: dict[str, torch.Tensor]
        losses, codes = self._objective(
            batch,
            noise * config.code_noise * grown,
            weight,
            None if grown else config.first_resolution,
            done >= start,
            posed,
        )
        if posed and self.swap.possible and self.images // config.batch % SWAP_EVERY == 0:
            losses |= self._moved(batch, codes, losses["total"], draw)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.images += config.batch
        self.networks.average(share_kept(config.batch, self.images, config.ema_images, 0.1))
        return {name: value.detach() for name, value in losses.items()}

    def _loss(
        self,
        batch: Batch,
        noise: torch.Tensor,
        weight: torch.Tensor,
        resolution: int | None,
        perceptual: bool,
        posed: bool,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Losses of a batch, and what the encoder says of it [N, L, D]."""
        w, offsets = self.networks.encoder.parts(batch.pictures)
        fake = self.networks.generator.synthesis_network((w + noise).unsqueeze(1) + offsets, "none", resolution)
        parts = self.likeness.parts(fake, batch, seeing=perceptual)
        size, offset = (w.square().mean() - 1).square(), offsets.square().mean()
        total = self.config.pixel_weight * parts["l1"] + 0.1 * size + self.config.offset_weight * offset
        for name, share in (("features", 1.0), ("identity", self.config.identity_weight)):
            if name in parts:
                total = total + weight * share * parts[name]
        if posed:
            parts["pose"] = self.swap.pose_error(fake, batch, torch.float32)
            total = total + self.config.pose_weight * parts["pose"]
        return {"total": total, "offset": offset, **parts}, w.unsqueeze(1) + offsets

    def _moved(
        self, batch: Batch, codes: torch.Tensor, total: torch.Tensor, draw: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """What faces look like that were given another's movement; `total` with it, and its parts."""
        encoder, config = self.networks.encoder, self.config
        before, after = self.networks.batches.draw_pairs(len(batch.chosen), draw)
        codes = codes + encoder(after.pictures) - encoder(before.pictures)
        fake = self.networks.generator.synthesis_network(codes, "none", None)
        parts = self.swap.parts(fake, batch, before, after, torch.float32)
        total = total + config.swap_pose_weight * parts["swap_pose"]
        if "swap_identity" in parts:
            total = total + config.swap_identity_weight * parts["swap_identity"]
        return {**parts, "total": total}

    @property
    def last_phase_at(self) -> float:
        """Share of the images after which the objective stays as it is."""
        return max(self.config.grow_at, self.config.feature_ramp[1])

    def _lr_share(self) -> float:
        done = min(1.0, self.images / self.config.images)
        ramp = min(1.0, (self.images + self.config.batch) / self.config.warmup_images)
        low = self.config.final_lr_share
        return ramp * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": self.networks.state(),
            "swap": self.swap.state(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        self.networks.restore(state["networks"])
        self.swap.restore(state["swap"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.images = state["images"]

    @torch.no_grad()
    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """Give W the Gaussian of the codes of the faces at `chosen`; returns those codes [N, D]."""
        w = self.networks.codes(chosen)
        centred = (w - w.mean(0)).double()
        covariance = centred.T @ centred / (len(w) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp_min(0).sqrt()
        network = self.networks.generator_average.mapping_network
        layer: nn.Module = network.get_submodule("fc0")
        layer.weight.copy_(root.float() / layer.weight_gain)  # type: ignore[operator]
        layer.bias.copy_(w.mean(0))  # type: ignore[operator]
        network.w_avg.copy_(w.mean(0))
        return w
