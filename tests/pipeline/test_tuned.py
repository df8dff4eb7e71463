"""What a rehearsal keeps of a generator that it tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.tuned import FILE, save_kernels, tuned_generator
from reanimate.checkpoints.bundle import load_bundle
from reanimate.errors import StoreError
from reanimate.inversion.tune import kernels


def kept(folder: Path, bundle: Path) -> dict[str, torch.Tensor]:
    """A generator's kernels, changed and written."""
    generator = load_bundle(str(bundle)).generator
    with torch.no_grad():
        for weight in kernels(generator).values():
            weight.mul_(1.5)
    save_kernels(folder, generator)
    return {name: weight.detach().clone() for name, weight in kernels(generator).items()}


def test_tuned_kernels_come_back_and_draw_another_picture(tiny_bundle: Path, tmp_path: Path) -> None:
    wanted = kept(tmp_path, tiny_bundle)
    own, tuned = tuned_generator(str(tiny_bundle), "cpu", None), tuned_generator(str(tiny_bundle), "cpu", tmp_path)
    assert all(torch.equal(weight, wanted[name]) for name, weight in kernels(tuned).items())
    codes = own.mapping(torch.ones(1, own.z_dim))
    with torch.no_grad():
        assert not torch.equal(own.synthesis(codes), tuned.synthesis(codes))


def test_rehearsal_that_tuned_nothing_leaves_the_model_as_it_is(tiny_bundle: Path, tmp_path: Path) -> None:
    own, same = tuned_generator(str(tiny_bundle), "cpu", None), tuned_generator(str(tiny_bundle), "cpu", tmp_path)
    assert all(torch.equal(weight, kernels(own)[name]) for name, weight in kernels(same).items())


def test_kernels_that_are_damaged_or_of_another_model_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    kept(tmp_path, tiny_bundle)
    with pytest.raises(StoreError, match=FILE):
        tuned_generator("faces", "cpu", tmp_path)
    with np.load(tmp_path / FILE, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    first = next(iter(arrays))
    arrays[first].flat[0] = np.nan
    np.savez(tmp_path / FILE, allow_pickle=False, **arrays)
    with pytest.raises(StoreError, match="not finite"):
        tuned_generator(str(tiny_bundle), "cpu", tmp_path)
    (tmp_path / FILE).write_bytes(b"no archive")
    with pytest.raises(StoreError, match="not an npz file"):
        tuned_generator(str(tiny_bundle), "cpu", tmp_path)
