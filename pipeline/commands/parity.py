"""How far the networks are from what the official code made of the same file and the same inputs.

A set is a folder with a checkpoint, inputs.npz (z, w_plus, c, labels or y, latent_avg, transform) and outputs.npz,
whose names say how each array was made: w_avg, w_psi0.7, ws_psi0.7_cutoff6, img_psi1_const, img_wplus_none,
img_psi1_const_lod1, img_mix_2_const, img_psi0.7_transform; img and img_lod1 where there are no styles; feat_NAME of
the first picture.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reanimate.checkpoints.official import build, format_module, identify
from reanimate.errors import MediaError, ReanimateError

INPUTS, OUTPUTS = "inputs.npz", "outputs.npz"
TOLERANCES = {"img": 1e-4, "w": 1e-5, "ws": 1e-5, "feat": 1e-4}  # absolute; of features, of the largest recorded value
_CHECKPOINTS = ("network.pkl", "model.pt", "checkpoint.pt")
_TRUNCATED = r"psi(?P<psi>\d+(\.\d+)?)(_cutoff(?P<cutoff>\d+))?"
_CODES = re.compile(rf"(?P<kind>ws?)_{_TRUNCATED}")
_PICTURE = re.compile(
    rf"img(_({_TRUNCATED}|(?P<wplus>wplus)|mix_(?P<mix>\d+)))?"
    r"(_((?P<noise>const|none)|(?P<transform>transform)))?(_lod(?P<lod>\d+(\.\d+)?))?"
)
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
_FAILURES = (ReanimateError, ValueError, LookupError, RuntimeError, AttributeError, TypeError)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded output, and how far ours is from it."""

    set: str
    output: str
    error: float | None
    """The largest difference; None if there is nothing to compare."""
    tolerance: float
    reason: str = ""
    """Why there is nothing to compare."""

    @property
    def ok(self) -> bool:
        """Whether it was made, and is near enough."""
        return self.error is not None and self.error <= self.tolerance


def find_sets(folder: Path) -> list[Path]:
    """The folders with recorded outputs in and below a folder.

    Raises:
        MediaError: there are none.
    """
    found = sorted(path.parent for path in folder.rglob(OUTPUTS))
    if not found:
        raise MediaError(folder, f"no sets in this folder: a set has a checkpoint, {INPUTS} and {OUTPUTS}")
    return found


def compare(folder: Path, name: str) -> Iterator[Row]:
    """A row for every output of a set, whether it can be made or not; `name` is what the set is called."""
    try:
        recorded = _arrays(folder / OUTPUTS)
    except MediaError as error:
        yield Row(name, OUTPUTS, None, 0.0, str(error))
        return
    try:
        maker = _Maker(folder)
    except _FAILURES as error:
        yield from (Row(name, key, None, _tolerance(key, value), _first_line(error)) for key, value in recorded.items())
        return
    for key, value in recorded.items():
        try:
            made = maker.make(key, value)
        except _FAILURES as error:
            yield Row(name, key, None, _tolerance(key, value), _first_line(error))
            continue
        furthest = float(np.abs(made - value).max(initial=0))
        if np.isfinite(furthest):
            yield Row(name, key, furthest, _tolerance(key, value))
        else:
            yield Row(name, key, None, _tolerance(key, value), "some of its numbers are infinite or none at all")


class _Maker:
    """Makes a set's outputs by their names."""

    def __init__(self, folder: Path) -> None:
        self.path = _checkpoint(folder)
        self.form, self.converted = identify(self.path)
        inputs = _arrays(folder / INPUTS)
        self.inputs = {name: torch.from_numpy(value) for name, value in inputs.items()}
        if "latent_avg" in inputs:  # of a checkpoint that does not hold it
            self.converted.weights["mapping_network.w_avg"] = self.inputs["latent_avg"]
        self.network = build(self.converted, self.path)

    @torch.no_grad()
    def make(self, key: str, recorded: NDArray[Any]) -> NDArray[Any]:
        """What should be `recorded`, with as many samples, and of features as many channels.

        Raises:
            ValueError: no output of this name is known, or ours has another shape.
        """
        codes, picture = _CODES.fullmatch(key), _PICTURE.fullmatch(key)
        if key == "w_avg":
            made = self.network.w_avg
        elif codes:
            made = self._ws(codes)[:, 0] if codes["kind"] == "w" else self._ws(codes)
        elif picture:
            network = self._variant(picture)
            made = network.synthesis(self._ws(picture), picture["noise"] or "const")
        elif key.startswith("feat_"):
            made = self._feature(key.removeprefix("feat_"))[:, : recorded.shape[1]]
        else:
            raise ValueError("no output of this name is known")
        if key != "w_avg":
            made = made[: len(recorded)]
        if made.shape != recorded.shape:
            raise ValueError(f"is {list(recorded.shape)} where ours is {list(made.shape)}")
        array: NDArray[Any] = made.numpy()
        return array

    def _ws(self, how: re.Match[str]) -> torch.Tensor:
        named = how.groupdict()
        if named.get("wplus"):
            return self.inputs["w_plus"]
        cutoff = int(named["cutoff"]) if named["cutoff"] else None
        ws: torch.Tensor = self.network.mapping(self.inputs["z"], self._classes(), float(named["psi"] or 1), cutoff)
        if named.get("mix"):
            return torch.cat([ws[:1, : int(named["mix"])], ws[1:2, int(named["mix"]) :]], 1)
        return ws

    def _classes(self) -> torch.Tensor | None:
        """One-hot [N, c_dim], as they are or from the numbers `y`."""
        if not self.network.c_dim:
            return None
        for name in ("c", "labels"):
            if name in self.inputs:
                return self.inputs[name]
        return torch.eye(self.network.c_dim)[self.inputs["y"]] if "y" in self.inputs else None

    def _variant(self, how: re.Match[str]) -> Any:
        """The network with what a picture's name says of it."""
        changed = self.converted
        if how["lod"]:
            changed = replace(changed, config=replace(changed.config, lod=float(how["lod"])))  # type: ignore[type-var]
        if how["transform"]:
            (name,) = (name for name in changed.weights if name.endswith("input.transform"))
            changed = replace(changed, weights={**changed.weights, name: self.inputs["transform"]})
        return self.network if changed is self.converted else build(changed, self.path)

    def _feature(self, name: str) -> torch.Tensor:
        """[1, C, H, W] of the first of all pictures, which are drawn together, as they were for the record."""
        path, element = format_module(self.form).feature(self.converted.family, name)
        kept: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            kept.append((output if element is None else output[element])[:1].clone())

        handle = self.network.get_submodule(path).register_forward_hook(keep)
        try:
            self.network.synthesis(self.network.mapping(self.inputs["z"], self._classes()))
        finally:
            handle.remove()
        return kept[0]


def _checkpoint(folder: Path) -> Path:
    known = [folder / name for name in _CHECKPOINTS if (folder / name).is_file()]
    found = known or sorted(path for path in folder.iterdir() if path.suffix in {".pkl", ".pt", ".pth"})
    if len(found) != 1:
        raise MediaError(folder, f"{len(found)} checkpoints in this set instead of one")
    return found[0]


def _arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
            if any(array.dtype.kind not in "biuf" for array in arrays.values()):
                raise ValueError("text")
            return arrays
    except _UNREADABLE as error:
        raise MediaError(path, "not an npz of numbers") from error


def _tolerance(key: str, recorded: NDArray[Any]) -> float:
    kind = key.partition("_")[0]
    largest = float(np.nan_to_num(np.abs(recorded)).max(initial=0)) if kind == "feat" else 1.0
    return TOLERANCES.get(kind, 0.0) * largest


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
