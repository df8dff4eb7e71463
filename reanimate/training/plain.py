"""A generator alone against a discriminator, whatever its family: so that families can be compared.

Photographs, discriminator, penalty, augmentation, step size, weight average and number of pictures are the same for
every family, and a generator is asked only for what the protocol has: z to codes, codes to pictures. So what is
particular to one family's published training (growing block by block, mixing of styles, path length) is left out for
all of them. Noise is drawn anew for every picture, so that a style generator learns how strong its noise should be.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import nn

from reanimate.generators.mescheder import MeschederConfig
from reanimate.generators.pggan import PGGANConfig
from reanimate.generators.protocol import GeneratorConfig
from reanimate.generators.stylegan2 import StyleGAN2Config, usual_channels
from reanimate.training.average import share_kept
from reanimate.training.batches import Batches, generator_at
from reanimate.training.data import Faces
from reanimate.training.discriminator import Discriminator
from reanimate.training.likeness import Likeness
from reanimate.training.networks import Networks
from reanimate.training.opponent import Opponent

Family = Literal["stylegan2", "pggan", "mescheder"]
W_AVERAGE_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class PlainConfig:
    """What decides a plain run's numbers."""

    family: Family = "stylegan2"
    resolution: int = 32
    """R, px, a power of two."""
    images: int = 100_000
    """Faces shown in all; the learning rate goes by their share."""
    batch: int = 32
    channel_base: int = 1024
    channel_max: int = 128
    z_dim: int = 128
    """Width of z, and of w where there is one."""
    lr: float = 2.5e-3
    """Of generator and discriminator; see `equalised`."""
    slow_at: float = 0.8
    """Share of the images after which every step size is a quarter."""
    r1_gamma: float = 0.1
    """Weight of the discriminator's penalty; small pictures need little."""
    augmentation: float = 0.0
    """Its probability at first; it rises where the discriminator gets too sure, which takes more than one look at each
    photograph.
    """
    ema_images: float = 5_000.0
    """Half-life of the weight average."""
    seed: int = 0


class Plain:
    """The networks, their opponent, the optimiser, and one step."""

    _method = (
        "plain adversarial training with adaptive augmentation, the same for every family: no growing, no mixing of "
        "styles, no path length, no encoder; noise, where there is any, drawn anew for every picture"
    )

    def __init__(self, config: PlainConfig, faces: Faces, likeness: Likeness, device: str, *, compiled: bool) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.images, self.likeness = config, device, 0, likeness
        precision = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
        self.networks = Networks(generator_shape(config), None, Batches(faces, config.resolution, device))
        width = usual_channels(config.resolution, config.channel_base, config.channel_max)
        judge = Discriminator(config.resolution, width)
        self.opponent = Opponent(
            judge,
            likeness.features,
            config.lr,
            device,
            precision,
            compiled=compiled,
            gamma=config.r1_gamma,
            probability=config.augmentation,
        )
        groups = equalised(self.networks.generator, config.lr)
        self.rates = [group["lr"] for group in groups]
        self.optimiser = torch.optim.Adam(groups, config.lr, betas=(0.0, 0.99), fused=True)
        self._picture = torch.compile(self._draw_pictures, dynamic=False) if compiled else self._draw_pictures

    @property
    def method(self) -> str:
        """How the model was made, for its card."""
        return self._method + ("; the opponent also judges by SqueezeNet's features" if self.opponent.head else "")

    @property
    def last_phase_at(self) -> float:
        """Share of the images after which the objective stays as it is: it never ends before its images."""
        return 1.0

    def step(self) -> dict[str, torch.Tensor]:
        """One batch; returns its losses as 0-d tensors, so that nothing waits for the device."""
        config, number = self.config, self.images // self.config.batch
        draw = generator_at(config.seed, self.images, self.device)
        torch.manual_seed(draw.initial_seed())  # of noise, which generators draw for themselves
        share = 0.25 if self.images / config.images >= config.slow_at else 1.0
        for group, lr in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = lr * share
        batch = self.networks.batches.draw(config.batch, draw)
        fake = self._picture(torch.randn(config.batch, config.z_dim, generator=draw, device=self.device))
        loss = self.opponent.doubt(fake, draw)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        losses = {"generator": loss.detach()}
        losses |= self.opponent.learn(batch.pictures, fake.detach(), draw, number, share)
        self.images += config.batch
        self.networks.average(share_kept(config.batch, self.images, config.ema_images, 0.05))
        return losses

    def _draw_pictures(self, z: torch.Tensor) -> torch.Tensor:
        generator = self.networks.generator
        pictures: torch.Tensor = generator.synthesis(generator.mapping(z), "random")
        return pictures

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": self.networks.state(),
            "opponent": self.opponent.state(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        self.networks.restore(state["networks"])
        self.opponent.restore(state["opponent"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.images = state["images"]

    @torch.no_grad()
    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """Take the average of W for the averaged weights, where there is a W; returns the codes [N, D] that it is of.

        Without an encoder, the faces at `chosen` have no codes.
        """
        del chosen
        generator = self.networks.generator_average
        z = torch.randn(W_AVERAGE_DRAWS, self.config.z_dim, generator=torch.Generator().manual_seed(self.config.seed))
        codes: torch.Tensor = generator.mapping(z.to(self.device))[:, 0]
        if generator.has_w:
            generator.w_avg.copy_(codes.mean(0))
        return codes


def generator_shape(config: PlainConfig) -> GeneratorConfig:
    """Sizes of a generator: the same channels at the same resolutions in every family, so about as many weights."""
    channels = usual_channels(config.resolution, config.channel_base, config.channel_max)
    if config.family == "pggan":
        return PGGANConfig(config.resolution, channels, z_dim=config.z_dim)
    if config.family == "mescheder":
        # the variant of its faces at 256 px; there is one class alone, whose embedding is no more than a bias
        return MeschederConfig(config.resolution, (channels[0], *channels), "resnet4", config.z_dim, embed_size=1)
    return StyleGAN2Config(
        resolution=config.resolution, channels=channels, z_dim=config.z_dim, w_dim=config.z_dim, mapping_layers=2
    )


def equalised(network: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Groups for Adam in which a weight's step is in proportion to its size at first, which is at most 1.

    Source: Karras et al. 2018, "Progressive Growing of GANs", section 4.1. Differs in where it stands: there weights
    are kept at unit scale and multiplied when they run; Adam does not notice a gradient's scale, so steps of that size
    for the product are the same. Style generators keep their weights at unit scale, and take whole steps.
    """
    sizes = {
        parameter: float(parameter.detach().square().mean().sqrt()) if parameter.ndim > 1 else 1.0
        for parameter in network.parameters()
    }
    return [{"params": [parameter], "lr": lr * min(1.0, size)} for parameter, size in sizes.items()]
