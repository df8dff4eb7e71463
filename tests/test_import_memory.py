"""How much memory a checkpoint of published size takes to import and to load, beyond what torch takes by itself.

The figures: pytest -m slow tests/test_import_memory.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import module, official_pickle
from conftest import ROOT
from torch import nn

from reanimate.checkpoints.data import Module
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, usual_channels, usual_filter

MIB = 1 << 20
_PEAK = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def as_official(network: nn.Module) -> Module:
    """A network of ours as NVIDIA's code would describe it; every module gets what any of them needs."""
    names = {"synthesis_network": "synthesis", "mapping_network": "mapping"}
    options: dict[str, Any] = {"activation": "lrelu", "bias_gain": 0.01, "conv_clamp": 256, "use_noise": True}
    return module(
        "Generator",
        {name: value.detach() for name, value in network.named_parameters(recurse=False)},
        {name: value for name, value in network.named_buffers(recurse=False) if name != "fir"}
        | ({"resample_filter": usual_filter()} if hasattr(network, "conv1") else {}),
        {names.get(name, name): as_official(inside) for name, inside in network.named_children()},
        architecture="skip",
        **options,
    )


def write_checkpoint(path: Path) -> None:
    """G, D and G_ema of the published size at 1024 px; what is not to be read is zeros."""
    network = StyleGAN2(StyleGAN2Config(1024, usual_channels(1024)))
    average = as_official(network)
    parts = {name: torch.zeros(sum(v.numel() for v in network.state_dict().values())) for name in ("G", "D")}
    others = {name: module("Discriminator", {"weight": value}) for name, value in parts.items()}
    path.write_bytes(official_pickle({"G": others["G"], "D": others["D"], "G_ema": average}))


def peak(code: str, *arguments: object) -> int:
    """Bytes of memory that Python code takes at the most, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"import sys, torch\n{code}\n{_PEAK}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=280, check=True)
    return int(done.stdout) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_import_of_a_large_checkpoint_takes_less_than_twice_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "network.pkl", tmp_path / "bundle"
    write_checkpoint(path)
    size, idle = path.stat().st_size, peak("")
    importing = "from pathlib import Path\nfrom reanimate.checkpoints.official import import_checkpoint\n"
    imported = peak(f"{importing}import_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), 'm')", path, folder) - idle
    loading = "from reanimate.checkpoints.bundle import load_bundle\nload_bundle(sys.argv[1])"
    loaded = peak(loading, folder) - idle
    weights = (folder / "generator.safetensors").stat().st_size
    figures = {"file": size, "weights": weights, "torch": idle, "import": imported, "load": loaded}
    with capsys.disabled():
        sys.stdout.write(f"\n{', '.join(f'{name} {value / MIB:.0f} MiB' for name, value in figures.items())}\n")
    assert 300 * MIB < size < 450 * MIB
    assert imported < 2 * size
    assert loaded < 3 * weights
