"""A style generator and its encoder trained together without an adversary: x → E(x) → G(E(x)) ≈ x.

W gets its distribution afterwards, from the codes of the training faces: a Gaussian, which the mapping network then
draws from (Gabbay & Hoshen 2019, section 5, train the generator the same way but learn one free code per picture).
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from reanimate.inversion.encoder import Encoder, EncoderConfig
from reanimate.inversion.features import SqueezeNetFeatures, feature_distance
from reanimate.training.data import Faces, jittered, sampling_weights


@dataclass(frozen=True, slots=True)
class TrainingConfig:
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
    ema_images: float = 5_000.0
    """Half-life of the weight average."""
    seed: int = 0


class Autoencoder:
    """The networks, their averages, the optimiser, and one step."""

    def __init__(
        self, config: TrainingConfig, faces: Faces, features: SqueezeNetFeatures | None, device: str, *, compiled: bool
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.images = config, device, 0
        shape = StyleGAN2Config(
            config.resolution,
            z_dim=config.w_dim,
            w_dim=config.w_dim,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            mapping_layers=1,
            mapping_lr_multiplier=1.0,
            mapping_activation="linear",
        )
        codes = EncoderConfig(config.resolution, shape.num_ws, config.w_dim, config.channel_base, config.channel_max)
        self.generator = StyleGAN2(shape).to(device).to(memory_format=torch.channels_last)
        self.encoder = Encoder(codes).to(device).to(memory_format=torch.channels_last)
        for resolution in shape.block_resolutions:
            if resolution > config.first_resolution:  # joins later without a jolt
                torgb = self.generator.synthesis_network.get_submodule(f"b{resolution}.torgb")
                nn.init.zeros_(torgb.get_parameter("weight"))
        self.generator_average = copy.deepcopy(self.generator).requires_grad_(False)
        self.encoder_average = copy.deepcopy(self.encoder).requires_grad_(False)
        self.features = features.to(device) if features is not None else None
        self.optimiser = torch.optim.Adam(
            [
                {"params": self.generator.synthesis_network.parameters(), "lr": config.generator_lr},
                {"params": self.encoder.parameters(), "lr": config.encoder_lr},
            ],
            betas=(0.9, 0.99),
            fused=True,
        )
        self.base_lr = (config.generator_lr, config.encoder_lr)
        # the whole set lies on the device as uint8: batches cost a gather, not a transfer
        self.pictures = torch.from_numpy(_thinned(faces, config.resolution)).to(device)
        self.weights = sampling_weights(faces)
        self._objective = torch.compile(self._loss) if compiled else self._loss

    def step(self) -> dict[str, torch.Tensor]:
        """One batch; returns its losses as 0-d tensors, so that nothing waits for the device."""
        config = self.config
        # drawn from (seed, images): a resumed run sees the batches the uninterrupted one would
        rng = np.random.default_rng([config.seed, self.images])
        chosen = torch.from_numpy(rng.choice(len(self.weights), config.batch, p=self.weights)).to(self.device)
        jitter = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        real = jittered(self.pictures[chosen], config.resolution, jitter).contiguous(memory_format=torch.channels_last)
        done = self.images / config.images
        grown = done >= config.grow_at
        noise = torch.randn(config.batch, config.w_dim, generator=jitter).to(self.device)
        start, end = config.feature_ramp
        weight = torch.tensor(min(1.0, max(0.0, (done - start) / (end - start))), device=self.device)
        for group, lr in zip(self.optimiser.param_groups, self.base_lr, strict=True):
            group["lr"] = lr * self._lr_share()
        self.optimiser.zero_grad(set_to_none=True)  # None also keeps blocks that have not joined where they are
        losses: dict[str, torch.Tensor] = self._objective(
            real, noise * config.code_noise * grown, weight, None if grown else config.first_resolution, done >= start
        )
        losses["total"].backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.images += config.batch
        self._average()
        return {name: value.detach() for name, value in losses.items()}

    def _loss(
        self, real: torch.Tensor, noise: torch.Tensor, weight: torch.Tensor, resolution: int | None, perceptual: bool
    ) -> dict[str, torch.Tensor]:
        w, offsets = self.encoder.parts(real)
        fake = self.generator.synthesis_network((w + noise).unsqueeze(1) + offsets, "none", resolution)
        if resolution is not None:
            real = functional.avg_pool2d(real, self.config.resolution // resolution)
        l1 = (fake - real).abs().mean()
        size, offset = (w.square().mean() - 1).square(), offsets.square().mean()
        total = self.config.pixel_weight * l1 + 0.1 * size + self.config.offset_weight * offset
        losses = {"l1": l1, "offset": offset}
        if self.features is not None and perceptual:
            with torch.no_grad():
                wanted = self.features(real)
            losses["features"] = feature_distance(self.features(fake), wanted).mean()
            total = total + weight * losses["features"]
        return {"total": total, **losses}

    def _lr_share(self) -> float:
        done = min(1.0, self.images / self.config.images)
        ramp = min(1.0, (self.images + self.config.batch) / self.config.warmup_images)
        low = self.config.final_lr_share
        return ramp * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))

    def _average(self) -> None:
        # the half-life grows with what was seen, so that the first random weights are soon forgotten
        half_life = min(self.config.ema_images, 0.1 * self.images)
        keep = 0.5 ** (self.config.batch / max(half_life, 1e-8))
        for average, current in (
            (self.generator_average, self.generator),
            (self.encoder_average, self.encoder),
        ):
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - keep)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        networks = (self.generator, self.encoder, self.generator_average, self.encoder_average)
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": [network.state_dict() for network in networks],
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        networks = (self.generator, self.encoder, self.generator_average, self.encoder_average)
        for network, weights in zip(networks, state["networks"], strict=True):
            network.load_state_dict(weights)
        self.optimiser.load_state_dict(state["optimiser"])
        self.images = state["images"]

    @torch.no_grad()
    def reconstruct(self, chosen: np.ndarray[Any, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Exactly aligned faces by index and their reconstructions by the averaged networks, [N, 3, R, R] each."""
        real = jittered(self.pictures[torch.from_numpy(chosen)], self.config.resolution, None)
        return real, self.generator_average.synthesis(self.encoder_average(real), "none")

    @torch.no_grad()
    def fit_w(self, chosen: np.ndarray[Any, Any]) -> torch.Tensor:
        """Give W the Gaussian of the codes of the faces at `chosen`; returns those codes [N, D]."""
        parts = []
        for start in range(0, len(chosen), 64):
            index = torch.from_numpy(chosen[start : start + 64])
            parts.append(self.encoder_average.parts(jittered(self.pictures[index], self.config.resolution, None))[0])
        w = torch.cat(parts)
        centred = (w - w.mean(0)).double()
        covariance = centred.T @ centred / (len(w) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp_min(0).sqrt()
        layer: nn.Module = self.generator_average.mapping_network.get_submodule("fc0")
        layer.weight.copy_(root.float() / layer.weight_gain)  # type: ignore[operator]
        layer.bias.copy_(w.mean(0))  # type: ignore[operator]
        self.generator_average.mapping_network.w_avg.copy_(w.mean(0))
        return w


def _thinned(faces: Faces, resolution: int) -> np.ndarray[Any, Any]:
    """The stored crops at no more than twice the resolution that is trained."""
    from reanimate.images import resize
    from reanimate.training.data import MARGIN

    side = round(resolution * 2 * MARGIN)
    if faces.pictures.shape[1] <= side:
        return faces.pictures
    return np.stack([resize(picture, side, side) for picture in faces.pictures])
