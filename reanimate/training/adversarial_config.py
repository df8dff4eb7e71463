"""Settings of the recipe with an adversary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdversarialConfig:
    """What decides an adversarial run's numbers."""

    resolution: int = 128
    """R, px, a power of two."""
    images: int = 1_000_000
    """Faces shown in all; phases and the learning rate go by their share."""
    batch: int = 64
    """At least 2; the opponent compares four at a time."""
    channel_base: int = 4096
    channel_max: int = 384
    w_dim: int = 512
    hybrid_at: float = 0.25
    """Share of the images after which phase 2 begins."""
    photographs: float = 0.75
    """Share of a batch that the encoder sees, and of the generated pictures of phase 2 that are reconstructions."""
    lr: float = 2.5e-3
    """Of generator and discriminator."""
    encoder_lr: float = 6e-4
    slow_at: float = 0.8
    """Share of the images after which every step size is a quarter."""
    mixing: float = 0.9
    """Share of generated pictures whose code changes at a random layer."""
    path_weight: float = 2.0
    path_at: float = 0.4
    """Share of the images after which steps of equal size in W must change pictures equally."""
    path_every: int = 8
    pixel_weight: float = 2.0
    feature_weight: float = 0.5
    identity_weight: float = 0.5
    moved_weight: float = 1.5
    """Of the difference where a movement that was read from another face changes a picture; with `swap`."""
    code_weight: float = 1.0
    """Of the encoder's error on generated pictures, whose codes are known, in variances of W; phase 1."""
    offset_weight: float = 0.1
    """Keeps the per-layer offsets small, so that codes stay near one w; in variances of W."""
    moment_weight: float = 1.0
    """Of the mismatch between the encoder's codes and W in mean and covariance; phase 2."""
    swap: bool = True
    """Whether one batch in four of phase 2 shows faces that perform, and exchanges their movements."""
    ema_images: float = 10_000.0
    """Half-life of the weight average."""
    seed: int = 0
