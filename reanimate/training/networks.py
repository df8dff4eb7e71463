"""The networks that recipes train, a generator and mostly its encoder, with the averages of both that are shipped."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from reanimate.checkpoints.bundle import Bundle
from reanimate.checkpoints.families import family_of, family_types
from reanimate.errors import ConfigError
from reanimate.generators.protocol import GeneratorConfig
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.inversion.encoder import Encoder, EncoderConfig
from reanimate.training.average import averaged, follow
from reanimate.training.batches import Batches

CHUNK = 64  # pictures at a time where nothing is learnt


def networks_of(start: Bundle) -> tuple[StyleGAN2, Encoder]:
    """Generator and encoder of a bundle that training can go on from.

    Raises:
        ConfigError: it has no such networks.
    """
    if not isinstance(start.generator, StyleGAN2) or start.encoder is None:
        raise ConfigError("start", f"{start.card.name} is no StyleGAN2 generator with an encoder")
    return start.generator, start.encoder


class Networks:
    """A generator, its encoder if it is to have one, their averages, and the faces they learn."""

    def __init__(
        self, shape: GeneratorConfig, codes: EncoderConfig | None, batches: Batches, start: Bundle | None = None
    ) -> None:
        """With `start`, in the sizes and with the weights of its networks; raises ConfigError as `networks_of`."""
        if start is not None:
            known = networks_of(start)
            shape, codes = known[0].config, known[1].config
        self.batches, self.device = batches, batches.device
        family = family_of(shape)
        self.generator = self.placed(family_types(family, family)[1](shape))
        self.generator_average = averaged(self.generator)
        self.encoder: Any = None
        self.encoder_average: Any = None
        if codes is not None:
            self.encoder = self.placed(Encoder(codes))
            self.encoder_average = averaged(self.encoder)
        if start is not None:
            self.restore([network.state_dict() for network in networks_of(start)] * 2)

    def placed(self, network: nn.Module) -> Any:
        """A network on the device, laid out as its convolutions like it."""
        return network.to(self.device).to(memory_format=torch.channels_last)

    def average(self, keep: float) -> None:
        """Move both averages on."""
        follow(self.generator_average, self.generator, keep)
        if self.encoder is not None:
            follow(self.encoder_average, self.encoder, keep)

    def state(self) -> list[dict[str, Any]]:
        """Weights of all networks."""
        return [network.state_dict() for network in self._all()]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take weights from `state`."""
        for network, weights in zip(self._all(), state, strict=True):
            network.load_state_dict(weights)

    def _all(self) -> tuple[nn.Module, ...]:
        networks = (self.generator, self.encoder, self.generator_average, self.encoder_average)
        return tuple(network for network in networks if network is not None)

    @torch.no_grad()
    def reconstruct(self, chosen: NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Exactly aligned faces by index and their reconstructions by the averages, [N, 3, R, R] each."""
        real = self.batches.exact(chosen)
        return real, self.rebuilt(real)

    @torch.no_grad()
    def rebuilt(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures [N, 3, R, R] as the averages see and draw them."""
        rebuilt: torch.Tensor = self.generator_average.synthesis(self.encoder_average(pictures), "none")
        return rebuilt

    @torch.no_grad()
    def codes(self, chosen: NDArray[Any]) -> torch.Tensor:
        """[N, D] w of faces by index."""
        parts = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
        return torch.cat([self.encoder_average.parts(self.batches.exact(some))[0] for some in parts])

    @torch.no_grad()
    def fit_w(self, chosen: NDArray[Any]) -> torch.Tensor:
        """Give W of a linear mapping network the Gaussian of the codes of the faces at `chosen`; returns those codes
        [N, D].
        """
        w = self.codes(chosen)
        centred = (w - w.mean(0)).double()
        covariance = centred.T @ centred / (len(w) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp_min(0).sqrt()
        network = self.generator_average.mapping_network
        layer: nn.Module = network.get_submodule("fc0")
        layer.weight.copy_(root.float() / layer.weight_gain)  # type: ignore[operator]
        layer.bias.copy_(w.mean(0))  # type: ignore[operator]
        network.w_avg.copy_(w.mean(0))
        return w
