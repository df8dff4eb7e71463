"""The reference pass draws our pictures, and what is said of a pass is counted right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Done, mescheder_file, tiny_generator

from pipeline.commands.pass_reference import Reference
from pipeline.commands.passes import Traffic, interleaved, random_model, working_in
from reanimate.checkpoints.bundle import save_bundle
from reanimate.errors import ConfigError
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config

Call = Callable[..., Done]
COLUMNS = ["model", "device", "batch", "precision", "way", "ms", "ms_low", "ms_high", "of_reference", "peak_mib",
           "mmac", "moved_mib", "difference"]  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "tiny", "tiny", tiny_generator(), None, {}, {}, "MIT", torch.float32)
    return tmp_path / "tiny"


def varied(**options: Any) -> StyleGAN2:
    """A small generator whose noise and biases count."""
    torch.manual_seed(0)
    config = StyleGAN2Config(16, (8, 6, 4), z_dim=8, w_dim=8, mapping_layers=1, **options)
    generator = StyleGAN2(config).eval()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                weight.copy_(torch.randn_like(weight))
    return generator.requires_grad_(False)


@pytest.mark.parametrize("options", [{}, {"conv_clamp": 0.5}, {"use_noise": False}, {"kernel_size": 1}])
def test_reference_draws_our_pictures_and_gives_our_gradients(options: dict[str, Any]) -> None:
    generator = varied(**options).double()
    ws = torch.randn(3, generator.num_ws, 8).double().requires_grad_(True)
    ours, published = generator.synthesis(ws), Reference(generator)(ws)
    torch.testing.assert_close(ours, published, atol=1e-9, rtol=1e-9)
    wanted = torch.randn_like(ours)
    ours_back, published_back = (torch.autograd.grad(picture, ws, wanted)[0] for picture in (ours, published))
    torch.testing.assert_close(ours_back, published_back, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("options", [{"architecture": "orig"}, {"activation": "relu"}, {"resample_taps": 3}])
def test_generator_that_the_reference_cannot_draw_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the reference pass"):
        Reference(varied(**options))


def test_pass_fills_every_column_for_every_batch_and_precision(call: Call, model: Path) -> None:
    command = ("bench", "pass", "--model", model, "--model", "8:64/16", "--device", "cpu", "--repeats", 2)
    done = json.loads(call(*command, "--batch", 1, "--batch", 2, "--json").out)
    assert "torch" in done["machine"]["cpu"]
    rows = done["rows"]
    assert [(row["model"], row["batch"], row["way"]) for row in rows] == [
        (name, batch, way) for name in ("tiny", "8:64/16") for batch in (1, 2) for way in ("ours", "reference")
    ]
    assert all(list(row) == COLUMNS for row in rows)
    assert all(row["difference"] < 1e-4 and row["ms_low"] <= row["ms"] <= row["ms_high"] for row in rows)
    assert all(row["moved_mib"] > row["peak_mib"] > 0 for row in rows)
    ours, published = rows[0], rows[1]
    assert ours["mmac"] < published["mmac"], "no gradients of weights"
    assert ours["moved_mib"] < published["moved_mib"]
    assert published["of_reference"] == 1
    lines = call(*command).out.splitlines()
    assert lines[0].startswith("machine: ") and lines[1] == f"| {' | '.join(COLUMNS)} |" and len(lines) == 3 + 4


def test_lower_precision_is_that_of_convolutions(call: Call, model: Path) -> None:
    command = ("bench", "pass", "--model", model, "--device", "cpu", "--repeats", 1, "--json", "--precision")
    rows = json.loads(call(*command, "bfloat16", "--precision", "tf32").out)["rows"]
    assert [row["precision"] for row in rows] == ["bfloat16"] * 2, "a CPU has no tf32"
    with working_in("bfloat16", "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("size", ["100:64/16", "8:7/16", "2:64/16"])
def test_impossible_size_is_refused_with_its_name(call: Call, size: str) -> None:
    assert repr(size) in call("bench", "pass", "--model", size, code=1).error


def test_model_of_another_family_is_refused(call: Call, tmp_path: Path) -> None:
    network = mescheder_file(tmp_path / "model.pt").requires_grad_(False)
    save_bundle(tmp_path / "other", "other", network, None, {}, {}, "MIT")
    assert "no StyleGAN2" in call("bench", "pass", "--model", tmp_path / "other", code=1).error


def test_model_named_by_size_has_that_size() -> None:
    generator = random_model("32:128/16")
    assert generator is not None
    assert generator.config.channels == (16, 16, 8, 4)
    assert random_model("faces") is None


def test_traffic_counts_what_is_read_written_and_held() -> None:
    a = torch.ones(1024, dtype=torch.float32)
    with Traffic() as traffic:
        b = a + a  # reads and writes 12 KiB, holds 4
        c = b.view(32, 32) * 2  # 8 KiB, holds 4; a view is free
        del b, c
        a.add_(1)  # 8 KiB, holds nothing new
    assert (traffic.moved, traffic.peak, traffic.held) == (28 * 1024, 8 * 1024, 0)


def test_repeats_alternate_and_warming_up_is_not_timed() -> None:
    said: list[str] = []
    times = interleaved([lambda: said.append("a"), lambda: said.append("b")], 3, "cpu")
    assert said == ["a", "b"] * 5
    assert [len(mine) for mine in times] == [3, 3]
