"""Checkpoints that their authors offer for download: where, what they are, and on what terms.

The addresses are those of the authors' own pages. A digest stands here only once somebody has measured it.
"""

from __future__ import annotations

from dataclasses import dataclass

_NVIDIA = "Nvidia Source Code License (non-commercial)"
_CC = "CC BY-NC 4.0"
_ADA_PAGE = "https://nvlabs.github.io/stylegan2-ada-pytorch/license.html"
_STYLEGAN3_PAGE = "https://github.com/NVlabs/stylegan3/blob/main/LICENSE.txt"  # of its StyleGAN2 networks too
_STYLEGAN_PAGE = "https://github.com/NVlabs/stylegan"
_PGGAN_PAGE = "https://github.com/tkarras/progressive_growing_of_gans"
_MESCHEDER_PAGE = "https://github.com/LMescheder/GAN_stability"
_ROSINALITY_PAGE = "https://github.com/rosinality/stylegan2-pytorch"

_ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="  # without its warning page
_AVG = "https://s3.eu-central-1.amazonaws.com/avg-projects/gan_stability/models/"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that `models fetch` knows by name."""

    name: str
    family: str
    resolution: int
    """Side of its pictures, px."""
    url: str
    licence: str
    page: str
    """Where the authors state the terms."""
    sha256: str | None = None
    """64 hex digits, or None as long as nobody has measured it: unverified."""
    suffix: str = ".pkl"

    @property
    def file(self) -> str:
        """The name under which it is kept."""
        return self.name + self.suffix


def _ngc(family: str, name: str, resolution: int) -> Checkpoint:
    url = f"{_NGC}{family}/versions/1/files/{family}-{name}-{resolution}x{resolution}.pkl"
    return Checkpoint(f"{family}-{name}-{resolution}", family, resolution, url, _NVIDIA, _STYLEGAN3_PAGE)


def _ada(name: str) -> Checkpoint:
    url = f"{_ADA}{name}.pkl"
    return Checkpoint(f"stylegan2-ada-{name}-1024", "stylegan2", 1024, url, _NVIDIA, _ADA_PAGE)


def _drive(name: str, resolution: int, file: str, page: str) -> Checkpoint:
    family = name.partition("-")[0]
    return Checkpoint(f"{name}-{resolution}", family, resolution, _DRIVE + file, _CC, page)


def _mescheder(name: str, resolution: int, file: str) -> Checkpoint:
    title, licence = f"mescheder-{name}-{resolution}", "MIT (the code); none named for the weights"
    return Checkpoint(title, "mescheder", resolution, _AVG + file, licence, _MESCHEDER_PAGE, suffix=".pt")


_ALL = (
    _drive("stylegan1-ffhq", 1024, "1MEGjdvVpUsu1jB4zrXZN7Y4kBBOzizDQ", _STYLEGAN_PAGE),
    _drive("stylegan1-celebahq", 1024, "1MGqJl28pN4t7SAtSrPdSRJSQJqahkzUf", _STYLEGAN_PAGE),
    _ada("ffhq"),
    _ada("metfaces"),
    _ngc("stylegan2", "ffhq", 1024),
    _ngc("stylegan2", "ffhq", 512),
    _ngc("stylegan2", "ffhq", 256),
    _ngc("stylegan2", "ffhqu", 256),
    _ngc("stylegan2", "celebahq", 256),
    Checkpoint(
        "stylegan2-rosinality-ffhq-256",
        "stylegan2",
        256,
        f"{_DRIVE}1PQutd-JboOCOZqmd95XWxWrO8gGEvRcO",
        "none named for the weights",
        _ROSINALITY_PAGE,
        suffix=".pt",
    ),
    _ngc("stylegan3", "t-ffhq", 1024),
    _ngc("stylegan3", "t-ffhqu", 1024),
    _ngc("stylegan3", "t-ffhqu", 256),
    _ngc("stylegan3", "r-ffhq", 1024),
    _ngc("stylegan3", "r-ffhqu", 1024),
    _ngc("stylegan3", "r-ffhqu", 256),
    _drive("pggan-celebahq", 1024, "188K19ucknC6wg1R6jbuPEhTq9zoufOx4", _PGGAN_PAGE),
    _mescheder("celebahq", 1024, "celebahq-baab46b2.pt"),
    _mescheder("celeba", 256, "celeba-ab478c9d.pt"),
)
KNOWN = {checkpoint.name: checkpoint for checkpoint in _ALL}
