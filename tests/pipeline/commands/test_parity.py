"""Parity with recorded outputs: what is near is ok, and nothing recorded goes without a verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import official_pickle, pggan
from conftest import SHARED, Done, mescheder_file, tiny_generator
from torch.nn import functional

from reanimate.checkpoints.formats.rosinality import export
from reanimate.checkpoints.official import build, open_official
from reanimate.generators.mescheder import Mescheder

Call = Callable[..., Done]
SETS = sorted(path.parent for path in (SHARED / "parity").glob("*/*/outputs.npz"))


def record(folder: Path, classes: int = 1, told: str = "y", **more: Any) -> Mescheder:
    """A set of a tiny generator, as it draws today; `told` is how the inputs name classes."""
    folder.mkdir(parents=True)
    network = mescheder_file(folder / "model.pt", classes)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, classes - 1, 0])
    kept: dict[str, torch.Tensor] = {}
    network.stages[1].register_forward_hook(lambda *a: kept.update(block=a[2][:1, :3]))
    picture = network.synthesis(network.mapping(z, torch.eye(classes)[y] if classes > 1 else None))
    outputs = {"img": picture.numpy(), "feat_2": kept["block"].numpy(), **more}
    np.savez(folder / "inputs.npz", z=z.numpy(), **{told: y.numpy() if told == "y" else np.eye(classes, dtype="f4")[y]})
    np.savez(folder / "outputs.npz", **outputs)
    return network


def rows(done: Done) -> dict[str, dict[str, Any]]:
    return {row["output"]: row for row in json.loads(done.out)["rows"]}


@pytest.mark.parametrize(("classes", "told"), [(1, "y"), (4, "y"), (4, "c")])
def test_own_outputs_agree(call: Call, tmp_path: Path, classes: int, told: str) -> None:
    record(tmp_path / "sets" / "family" / "one", classes, told)
    said = call("bench", "parity", "sets").out
    assert "machine: " in said.splitlines()[0]
    assert [line.split()[:2] for line in said.splitlines()[2:4]] == [["family/one", "img"], ["family/one", "feat_2"]]
    assert said.splitlines()[-1] == "2 outputs of 1 sets, 0 over or missing"
    found = rows(call("bench", "parity", "sets/family/one", "--json"))
    assert all(row["ok"] and row["error"] <= row["tolerance"] for row in found.values())
    assert found["img"]["tolerance"] == 1e-4


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_codes_and_pictures_are_made_as_their_names_say(call: Call, tmp_path: Path, shift: float) -> None:
    (tmp_path / "set").mkdir()
    generator = tiny_generator()
    export(generator.config, generator.state_dict(), tmp_path / "set" / "checkpoint.pt")
    z, w_plus = torch.randn(3, 8), torch.randn(2, 6, 8)
    average, ws = generator.w_avg + shift, generator.mapping(z)
    truncated = average + 0.7 * (ws - average)
    cut = torch.cat([truncated[:, :2], ws[:, 2:]], 1)
    outputs = {
        "w_avg": average,
        "w_psi1": ws[:, 0],
        "w_psi0.7": truncated[:, 0],
        "ws_psi0.7": truncated,
        "ws_psi0.7_cutoff2": cut,
        "img_psi1_const": generator.synthesis(ws),
        "img_psi0.7_cutoff2_none": generator.synthesis(cut, "none"),
        "img_wplus_none": generator.synthesis(w_plus, "none"),
        "img_mix_2_const": generator.synthesis(torch.cat([ws[:1, :2], ws[1:2, 2:]], 1)),
    }
    inputs = {"z": z, "w_plus": w_plus, **({"latent_avg": average} if shift else {})}
    np.savez(tmp_path / "set" / "inputs.npz", **{name: value.numpy() for name, value in inputs.items()})
    np.savez(tmp_path / "set" / "outputs.npz", **{name: value.numpy() for name, value in outputs.items()})
    assert rows(call("bench", "parity", "set", "--json")).keys() == outputs.keys()


def test_picture_of_a_generator_that_has_not_grown_is_made(call: Call, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "network.pkl").write_bytes(official_pickle(pggan(), network="tfutil"))
    converted = open_official(tmp_path / "set" / "network.pkl")
    network, z = build(converted, tmp_path), torch.randn(2, 4)
    kept: list[torch.Tensor] = []
    network.torgb_lod1.register_forward_hook(lambda *a: kept.append(a[2]))
    network.synthesis(network.mapping(z))
    half = functional.interpolate(kept[0], scale_factor=2).numpy()
    np.savez(tmp_path / "set" / "inputs.npz", z=z.numpy())
    np.savez(tmp_path / "set" / "outputs.npz", **{"img_lod1": half, "feat_ToRGB_lod1": kept[0][:1].numpy()})
    assert all(row["ok"] for row in rows(call("bench", "parity", "set", "--json")).values())


def test_output_over_its_tolerance_is_told_from_one_below(call: Call, tmp_path: Path) -> None:
    record(tmp_path / "set")
    with np.load(tmp_path / "set" / "outputs.npz") as data:
        recorded = dict(data)
    largest = float(np.abs(recorded["feat_2"]).max())
    recorded["img"][2, 1, 3, 3] += 3e-4
    recorded["feat_2"][0, 0, 0, 0] += 0.5e-4 * largest
    np.savez(tmp_path / "set" / "outputs.npz", **recorded)
    done = call("bench", "parity", "set", "--json", code=1)
    found = rows(done)
    assert not found["img"]["ok"] and found["img"]["error"] == pytest.approx(3e-4, rel=0.01)
    assert found["feat_2"]["ok"] and found["feat_2"]["tolerance"] == pytest.approx(1e-4 * largest)
    assert "1 of 2 outputs" in done.error
    assert "OVER" in call("bench", "parity", "set", code=1).out


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("loss", np.zeros(3), "no output of this name is known"),
        ("img_psi1_some", np.zeros((1, 3, 16, 16)), "no output of this name is known"),
        ("img_lod1", np.zeros((1, 3, 16, 16)), "lod"),
        ("img_psi0.7_transform", np.zeros((1, 3, 16, 16)), ""),
        ("img_wplus_const", np.zeros((1, 3, 16, 16)), "w_plus"),
        ("img_psi1_const", np.zeros((1, 3, 8, 8)), "is [1, 3, 8, 8] where ours is [1, 3, 16, 16]"),
        ("img_psi1_none", np.full((1, 3, 16, 16), np.nan), ""),
        ("feat_9x9", np.zeros((1, 3, 16, 16)), "no feature"),
        ("feat_14", np.zeros((1, 3, 16, 16)), ""),
        ("feat_fc", np.zeros(3), ""),
        ("w_psi1", np.zeros(()), ""),
    ],
)
def test_output_that_cannot_be_made_counts_as_a_failure(
    call: Call, tmp_path: Path, name: str, value: np.ndarray, reason: str
) -> None:
    record(tmp_path / "set", **{name: value})
    done = call("bench", "parity", "set", "--json", code=1)
    assert "1 of 3 outputs" in done.error
    assert not rows(done)[name]["ok"]
    assert reason in rows(done)[name]["reason"]


@pytest.mark.parametrize("kind", ["no checkpoint", "two", "broken", "no inputs", "broken inputs", "text", "no latents"])
def test_set_that_cannot_be_opened_fails_in_every_output(call: Call, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "set"
    record(folder)
    if kind == "no checkpoint":
        (folder / "model.pt").unlink()
    elif kind == "two":
        (folder / "model.pt").rename(folder / "a.pt")
        shutil.copy(folder / "a.pt", folder / "b.pkl")
    elif kind == "broken":
        (folder / "model.pt").write_bytes(b"\x80\x02")
    elif kind == "no inputs":
        (folder / "inputs.npz").unlink()
    elif kind == "broken inputs":
        (folder / "inputs.npz").write_bytes(b"PK\x03\x04")
    elif kind == "text":
        np.savez(folder / "inputs.npz", z=np.array("z"))
    else:
        np.savez(folder / "inputs.npz", other=np.zeros(3))
    record(tmp_path / "good")
    done = call("bench", "parity", ".", "--json", code=1)
    assert "2 of 4 outputs" in done.error
    found = json.loads(done.out)["rows"]
    assert [row["ok"] for row in found] == [True, True, False, False]
    assert all(row["reason"] for row in found[2:])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello"])
def test_outputs_that_cannot_be_read_are_a_failure(call: Call, tmp_path: Path, content: bytes) -> None:
    record(tmp_path / "set")
    (tmp_path / "set" / "outputs.npz").write_bytes(content)
    assert "not an npz of numbers" in rows(call("bench", "parity", "set", "--json", code=1))["outputs.npz"]["reason"]


def test_pickles_in_recorded_outputs_are_not_opened(call: Call, tmp_path: Path) -> None:
    record(tmp_path / "set", loss=np.array([{}], object))
    assert "not an npz of numbers" in rows(call("bench", "parity", "set", "--json", code=1))["outputs.npz"]["reason"]


def test_folder_without_sets_is_one_line(call: Call, tmp_path: Path) -> None:
    assert "no sets in this folder" in call("bench", "parity", tmp_path, code=1).error
    assert "no sets in this folder" in call("bench", "parity", "nowhere", code=1).error


@pytest.mark.skipif(not SETS, reason="../shared/parity is not beside this checkout")
@pytest.mark.parametrize("folder", SETS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_official_checkpoints_draw_what_the_official_code_drew(call: Call, folder: Path) -> None:
    with np.load(folder / "outputs.npz") as data:
        recorded = set(data.files)
    found = rows(call("bench", "parity", folder, "--json"))
    assert set(found) == recorded
