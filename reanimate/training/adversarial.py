"""The recipe for a GPU: a style generator against a discriminator, then against it and for its encoder at once.

Phase 1 is plain adversarial training on a small set (Karras et al. 2020, StyleGAN2 and ADA: logistic loss, lazy R1,
adaptive augmentation, style mixing, path length in the last third), while the encoder learns behind it to read
photographs and generated pictures. In phase 2 the generator also takes gradient from reconstructions, so that codes of
photographs invert well, and most of what the discriminator sees are reconstructions; the encoder's codes are held to
the mean and covariance of W. One batch in four of phase 2 asks for what codes are used for: a movement's difference,
read from one face, must move another alike (`swap`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from numpy.typing import NDArray

from reanimate.checkpoints.bundle import Bundle
from reanimate.generators.stylegan2 import StyleGAN2Config, usual_channels
from reanimate.inversion.encoder import EncoderConfig
from reanimate.training.adversarial_config import AdversarialConfig
from reanimate.training.average import share_kept
from reanimate.training.batches import Batch, Batches, generator_at
from reanimate.training.data import Faces
from reanimate.training.discriminator import Discriminator
from reanimate.training.likeness import Likeness
from reanimate.training.mixed import synthesise
from reanimate.training.moments import Moments, mismatch
from reanimate.training.networks import Networks
from reanimate.training.opponent import Opponent
from reanimate.training.swap import exchanged, missed

SWAP_EVERY = 4  # batches of phase 2
PATH_SHARE = 4  # one picture in this many of the batch shows how far it moves with its code
PATH_DECAY = 0.01
W_DRAWS = 1024  # codes of the generator's own that a batch of the encoder's is compared with
W_AVERAGE_DRAWS = 10_000
W_AVERAGE_KEEP = 0.998


class Adversarial:
    """The networks, their opponent, the optimisers, and one step."""

    method = (
        "adversarial training with adaptive augmentation, then for adversary and encoder together; where swap or an "
        "identity loss is on, dlib's landmarks and descriptor of the photographs supervise weakly; dlib also measures"
    )

    def __init__(
        self,
        config: AdversarialConfig,
        faces: Faces,
        likeness: Likeness,
        device: str,
        *,
        compiled: bool,
        start: Bundle | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.images, self.likeness = config, device, 0, likeness
        on_gpu = torch.device(device).type == "cuda"
        self.precision = torch.bfloat16 if on_gpu else torch.float32
        torch.backends.cudnn.benchmark = on_gpu  # every shape comes back thousands of times
        channels = usual_channels(config.resolution, config.channel_base, config.channel_max)
        shape = StyleGAN2Config(
            resolution=config.resolution, channels=channels, z_dim=config.w_dim, w_dim=config.w_dim, mapping_layers=2
        )
        sizes = (config.resolution, shape.num_ws, config.w_dim, config.channel_base, config.channel_max)
        codes = EncoderConfig(*sizes)
        self.networks = Networks(shape, codes, Batches(faces, config.resolution, device), start)
        self.batches = self.networks.batches
        width = usual_channels(config.resolution, 2 * config.channel_base, config.channel_max)  # it does not ship
        judge = Discriminator(config.resolution, width)
        self.opponent = Opponent(judge, likeness.features, config.lr, device, self.precision, compiled=compiled)
        self.own_codes, self.read_codes = Moments(config.w_dim).to(device), Moments(config.w_dim).to(device)
        self.path_length = torch.zeros([], device=device)
        generator, encoder = self.networks.generator, self.networks.encoder
        self.optimisers = (
            torch.optim.Adam(generator.parameters(), config.lr, betas=(0.0, 0.99), fused=True),
            torch.optim.Adam(encoder.parameters(), config.encoder_lr, betas=(0.9, 0.99), fused=True),
        )
        # one graph for each network and size of batch; R1 and path length differentiate twice, which no graph can
        self._synthesis = torch.compile(synthesise, dynamic=False) if compiled else synthesise
        self._parts = torch.compile(encoder.parts, dynamic=False) if compiled else encoder.parts
        self._likeness = torch.compile(likeness.parts, dynamic=False) if compiled else likeness.parts

    @property
    def last_phase_at(self) -> float:
        """Share of the images after which the objective stays as it is."""
        return self.config.hybrid_at

    def step(self) -> dict[str, torch.Tensor]:
        """One batch; returns its losses as 0-d tensors, so that nothing waits for the device."""
        config, number = self.config, self.images // self.config.batch
        draw = generator_at(config.seed, self.images, self.device)
        done = self.images / config.images
        hybrid = done >= config.hybrid_at
        share = 0.25 if done >= config.slow_at else 1.0
        for optimiser, lr in zip(self.optimisers, (config.lr, config.encoder_lr), strict=True):
            optimiser.param_groups[0]["lr"] = lr * share
        batch = self.batches.draw(config.batch, draw)
        fake, losses = self._hybrid(batch, draw, number) if hybrid else self._plain(batch, draw, number)
        if done >= config.path_at and number % config.path_every == 0:
            losses["path"] = self._even_paths(draw)
        losses |= self.opponent.learn(batch.pictures, fake.detach(), draw, number, share)
        self.images += config.batch
        self.networks.average(share_kept(config.batch, self.images, config.ema_images, 0.05))
        return losses

    def _plain(self, batch: Batch, draw: torch.Generator, number: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Phase 1: the generator against its opponent, then the encoder behind it."""
        count = self._photographs(batch)
        self.networks.generator.requires_grad_(True)
        codes, spread = self._draw_codes(len(batch.chosen), draw)
        fake = self._picture(codes)
        loss = self.opponent.doubt(fake, draw)
        self._descend(loss, self.optimisers[:1])
        losses = {"generator": loss.detach()}
        self.networks.generator.requires_grad_(False)
        if number % 2:  # generated pictures, whose codes are known, and photographs in turn
            w, offsets = self._read(fake[:count].detach())
            error = (w.unsqueeze(1) + offsets - codes[:count].detach()).square().mean() / spread
            loss, losses["codes"] = self.config.code_weight * error, error.detach()
        else:
            some = _first(batch, count)
            w, offsets = self._read(some.pictures)
            self.read_codes.take(w.detach())  # phase 2 begins with what is known by then
            parts = self._likeness(self._picture(w.unsqueeze(1) + offsets), some, self.precision)
            loss = self._weighted(parts) + self.config.offset_weight * offsets.square().mean() / spread
            losses |= _detached(parts)
        self._descend(loss, self.optimisers[1:])
        self.networks.generator.requires_grad_(True)
        return fake, losses

    def _hybrid(self, batch: Batch, draw: torch.Generator, number: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Phase 2: generator and encoder against the opponent and for the faces, together."""
        config = self.config
        count = self._photographs(batch)
        some = _first(batch, count)
        codes, spread = self._draw_codes(len(batch.chosen) - count, draw)
        before = None
        if config.swap and number % SWAP_EVERY == 0:
            before, some = self.batches.performed(some, draw)
        w, offsets = self._read(some.pictures)
        own = w.unsqueeze(1) + offsets
        if before is not None:
            start = self._whole(before.pictures)
            own = start + exchanged(own - start)
        fake = self._picture(torch.cat([codes, own]))
        adversary = self.opponent.doubt(fake, draw)
        parts = self._likeness(fake[-count:], some, self.precision)
        if before is not None:
            parts["moved"] = missed(fake[-count:], before, some)
        apart = mismatch(self.read_codes.take(w), self.own_codes.now())
        total = adversary + self._weighted(parts) + config.moment_weight * apart
        total = total + config.offset_weight * offsets.square().mean() / spread
        self._descend(total, self.optimisers)
        return fake, _detached({"generator": adversary, "moments": apart} | parts)

    def _weighted(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        config = self.config
        weights = {
            "l1": config.pixel_weight,
            "features": config.feature_weight,
            "identity": config.identity_weight,
            "moved": config.moved_weight,
        }
        return torch.stack([weights[name] * value for name, value in parts.items()]).sum()

    def _even_paths(self, draw: torch.Generator) -> torch.Tensor:
        """Steps of equal size in W shall change pictures equally (Karras et al. 2020, section 3.2)."""
        config = self.config
        codes, _ = self._draw_codes(max(1, config.batch // PATH_SHARE), draw)
        pictures = synthesise(self.networks.generator.synthesis_network, codes, torch.float32)
        noise = torch.randn(pictures.shape, generator=draw, device=self.device) / config.resolution
        (slope,) = torch.autograd.grad((pictures * noise).sum(), codes, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        self.path_length = self.path_length.lerp(lengths.detach().mean(), PATH_DECAY)
        penalty = (lengths - self.path_length).square().mean()
        self._descend(penalty * config.path_weight * config.path_every, self.optimisers[:1])
        return penalty.detach()

    def _draw_codes(self, count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes [count, L, D] of the generator's own, some changing at a random layer, and the variance of W."""
        network, layers = self.networks.generator.mapping_network, self.networks.generator.num_ws
        z = torch.randn(2 * count, self.config.w_dim, generator=draw, device=self.device)
        first, second = network(z).unsqueeze(1).chunk(2)  # [count, 1, D] each, one code for all layers
        where = torch.randint(1, layers, (count, 1), generator=draw, device=self.device)
        whole = torch.rand(count, 1, generator=draw, device=self.device) >= self.config.mixing
        keeps = (torch.arange(layers, device=self.device) < where) | whole
        with torch.no_grad():
            more = network(torch.randn(W_DRAWS, self.config.w_dim, generator=draw, device=self.device))
            network.w_avg.lerp_(more.mean(0), 1 - W_AVERAGE_KEEP)
            _, covariance = self.own_codes.take(more)
        return torch.where(keeps[:, :, None], first, second), covariance.diagonal().mean() + 1e-8

    def _photographs(self, batch: Batch) -> int:
        """How many the encoder sees in a step, two by two: the same in both phases, so that nothing compiles twice."""
        return 2 * max(1, int(self.config.photographs * len(batch.chosen) / 2))

    def _picture(self, codes: torch.Tensor) -> torch.Tensor:
        return self._synthesis(self.networks.generator.synthesis_network, codes, self.precision)

    def _read(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(torch.device(self.device).type, self.precision, enabled=self.precision != torch.float32):
            w, offsets = self._parts(pictures)
        return w.float(), offsets.float()

    def _whole(self, pictures: torch.Tensor) -> torch.Tensor:
        w, offsets = self._read(pictures)
        return w.unsqueeze(1) + offsets

    def _descend(self, loss: torch.Tensor, optimisers: tuple[torch.optim.Optimizer, ...]) -> None:
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            optimiser.step()

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain data and tensors."""
        return {
            "config": asdict(self.config),
            "images": self.images,
            "networks": self.networks.state(),
            "opponent": self.opponent.state(),
            "moments": [moments.state_dict() for moments in (self.own_codes, self.read_codes)],
            "path_length": self.path_length,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the number of images in all may differ, nothing else should."""
        self.networks.restore(state["networks"])
        self.opponent.restore(state["opponent"])
        for moments, values in zip((self.own_codes, self.read_codes), state["moments"], strict=True):
            moments.load_state_dict(values)
        self.path_length = state["path_length"].to(self.device)
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.images = state["images"]

    @torch.no_grad()
    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """Take the average of W anew for the averaged weights; returns the codes [N, D] of the faces at `chosen`."""
        network = self.networks.generator_average.mapping_network
        z = torch.randn(W_AVERAGE_DRAWS, self.config.w_dim, generator=torch.Generator().manual_seed(self.config.seed))
        network.w_avg.copy_(network(z.to(self.device)).mean(0))
        return self.networks.codes(chosen)


def _first(batch: Batch, count: int) -> Batch:
    return Batch(batch.pictures[:count], batch.chosen[:count], batch.alignment[:count])


def _detached(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in losses.items()}
