"""What the families of generators share: how z becomes codes, and what a class is. See protocol.Generator."""

from __future__ import annotations

import torch
from torch import nn

from reanimate.generators.protocol import GeneratorConfig, Noise


class StyleGenerator(nn.Module):
    """A mapping network, z and classes to w [N, D], with the mean `w_avg`; and a synthesis network, ws to pictures."""

    has_w = True

    def __init__(
        self, config: GeneratorConfig, z_dim: int, c_dim: int, mapping: nn.Module, synthesis: nn.Module
    ) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.z_dim, self.c_dim = config.num_ws, config.w_dim, z_dim, c_dim
        self.resolution = config.resolution
        self.mapping_network, self.synthesis_network = mapping, synthesis

    @property
    def w_avg(self) -> torch.Tensor:
        """[D]."""
        return self.mapping_network.get_buffer("w_avg")

    def mapping(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """[N, L, D] for z [N, z_dim] and classes c [N, c_dim]."""
        ws: torch.Tensor = self.mapping_network(z, c).unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
            ws = torch.cat([self.w_avg.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], 1)
        return ws

    def noise_maps(self) -> list[torch.Tensor]:
        """[H, W] of every layer with noise; none if all strengths are zero."""
        drawn = any(bool(value.any()) for name, value in self.named_parameters() if name.endswith("noise_strength"))
        return [value for name, value in self.named_buffers() if name.endswith("noise_const")] if drawn else []

    def synthesis(self, ws: torch.Tensor, noise_mode: Noise = "const") -> torch.Tensor:
        """[N, 3, R, R] for ws [N, L, D]."""
        picture: torch.Tensor = self.synthesis_network(ws, noise_mode)
        return picture


class LatentGenerator(nn.Module):
    """A generator that has only z."""

    has_w = False
    w_avg: torch.Tensor

    def __init__(self, config: GeneratorConfig, c_dim: int) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.z_dim, self.c_dim = 1, config.w_dim, config.w_dim, c_dim
        self.resolution = config.resolution
        self.register_buffer("w_avg", torch.zeros(self.z_dim), persistent=False)

    def noise_maps(self) -> list[torch.Tensor]:
        """There is no noise."""
        return []

    def mapping(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """[N, 1, z_dim] for z [N, z_dim]: there is no W. With classes c, [N, 1, z_dim + c_dim]: z brings them along."""
        del truncation_psi, truncation_cutoff
        return (z if c is None else torch.cat([z, c], 1)).unsqueeze(1)


def check_label(label: int, c_dim: int) -> None:
    """Refuse a class that there is not.

    Raises:
        ValueError: there is none.
    """
    if not 0 <= label < max(c_dim, 1):
        raise ValueError(f"there is no class {label} among {c_dim}")


def one_hot(label: int, c_dim: int, like: torch.Tensor) -> torch.Tensor:
    """[N, c_dim] of one class, for as many pictures as `like` [N, …] has."""
    c = like.new_zeros(len(like), c_dim)
    c[:, label] = 1
    return c


def normalized(x: torch.Tensor, epsilon: float = 1e-8) -> torch.Tensor:
    """Pixel norm: each position's vector over axis 1 brought to unit second moment."""
    return x * (x.square().mean(1, keepdim=True) + epsilon).rsqrt()
