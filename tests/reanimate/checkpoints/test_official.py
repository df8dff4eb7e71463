"""Official files become networks and bundles, or one line that says why not."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import module, official_pickle
from conftest import mescheder_file, tiny_generator

from reanimate.checkpoints import official
from reanimate.checkpoints.bundle import load_bundle, read_card
from reanimate.checkpoints.data import Converted
from reanimate.checkpoints.official import build, identify, import_checkpoint, open_official
from reanimate.errors import ConfigError, ModelError
from reanimate.generators.mescheder import Mescheder


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        import_checkpoint(path, path.with_name("bundle"), "m")
    assert not path.with_name("bundle").exists()
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def edited(path: Path, change: Any) -> Path:
    """A checkpoint whose averaged generator's state was changed."""
    mescheder_file(path)
    data = torch.load(path, weights_only=True)
    data["generator_test"] = OrderedDict(data["generator_test"])
    change(data["generator_test"])
    torch.save(data, path)
    return path


def test_file_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    network = mescheder_file(tmp_path / "network.pkl")  # whatever it is called
    form, converted = identify(tmp_path / "network.pkl")
    assert (form, converted.family, converted.config) == ("mescheder", "mescheder", network.config)
    assert open_official(tmp_path / "network.pkl").config == network.config


def test_imported_model_draws_the_very_picture(tmp_path: Path) -> None:
    network = mescheder_file(tmp_path / "model.pt")
    card = import_checkpoint(tmp_path / "model.pt", tmp_path / "bundle", "mine", licence="CC0")
    assert read_card(tmp_path / "bundle") == card
    assert (card.name, card.family, card.licence, card.encoder) == ("mine", "mescheder", "CC0", None)
    digest = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    assert card.provenance == {"imported_from": "model.pt", "sha256": digest, "format": "mescheder"}
    loaded = load_bundle(str(tmp_path / "bundle")).generator
    ws = network.mapping(torch.randn(2, 8))
    assert torch.equal(loaded.synthesis(ws), network.synthesis(ws))


def test_class_is_kept_and_part_of_the_digest(tmp_path: Path) -> None:
    network = mescheder_file(tmp_path / "model.pt", classes=3)
    cards = [import_checkpoint(tmp_path / "model.pt", tmp_path / str(i), "m", label=i) for i in (0, 2)]
    assert len({card.digest for card in cards}) == 2
    loaded = load_bundle(str(tmp_path / "2")).generator
    z = torch.randn(1, 8)
    assert torch.allclose(loaded.synthesis(loaded.mapping(z)), network.synthesis(network.mapping(z, torch.eye(3)[2:])))


@pytest.mark.parametrize(("classes", "label"), [(1, 0), (3, 3), (3, -1)])
def test_class_that_there_is_not_is_an_error(tmp_path: Path, classes: int, label: int) -> None:
    mescheder_file(tmp_path / "model.pt", classes)
    with pytest.raises(
        ConfigError, match=f"no class {label}; {'it has none' if classes == 1 else 'give one from 0 to 2'}"
    ):
        import_checkpoint(tmp_path / "model.pt", tmp_path / "bundle", "m", label)


@pytest.mark.parametrize("known", [True, False])
def test_mean_of_w_is_measured_where_the_file_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: bool
) -> None:
    generator = tiny_generator()
    if not known:
        generator.w_avg.zero_()
    converted = Converted("stylegan2", generator.config, dict(generator.state_dict()))
    monkeypatch.setattr(official, "identify", lambda _: ("nvidia", converted))
    (tmp_path / "model.pkl").write_bytes(b"")
    import_checkpoint(tmp_path / "model.pkl", tmp_path / "bundle", "m")
    mean = generator.mapping(torch.randn(20_000, 8))[:, 0].mean(0)
    loaded = load_bundle(str(tmp_path / "bundle")).generator.w_avg
    assert (
        torch.equal(loaded, generator.w_avg) if known else torch.allclose(loaded, mean, atol=0.05 * float(mean.norm()))
    )


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    path = edited(tmp_path / "model.pt", lambda state: state["module.fc.weight"].view(-1)[3:4].fill_(float("nan")))
    assert "fc.weight" in refused(path)


def test_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    path = edited(tmp_path / "model.pt", lambda state: state["module.fc.weight"].fill_(3e38))
    assert "draws no picture of 16 px" in refused(path)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 3, 8, 8)], ids=str)
def test_shapes_of_a_large_picture_are_followed_without_drawing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    def draw(_: Mescheder, ws: torch.Tensor) -> torch.Tensor:
        assert ws.device.type == "meta"
        return ws.new_zeros(shape)

    mescheder_file(tmp_path / "model.pt")
    monkeypatch.setattr(official, "MAX_DRAWN", 100)
    import_checkpoint(tmp_path / "model.pt", tmp_path / "real", "m")
    monkeypatch.setattr(Mescheder, "synthesis", draw)
    if shape[-1] == 16:
        import_checkpoint(tmp_path / "model.pt", tmp_path / "bundle", "m")
    else:
        assert "draws no picture of 16 px" in refused(tmp_path / "model.pt")


def test_layers_beyond_any_machine_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    def enlarge(_: Mescheder, ws: torch.Tensor) -> torch.Tensor:
        assert ws.device.type == "meta"
        return ws.new_zeros(1 << 40)[: 3 * 16 * 16].view(1, 3, 16, 16)

    mescheder_file(tmp_path / "model.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mescheder, "synthesis", enlarge)
        assert f"{1 << 40} activations" in refused(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("module.fc.bias"), "fc.bias"),
        (lambda state: state.update({"module.more": torch.zeros(3)}), "more"),
        (lambda state: state.update({"module.fc.bias": torch.zeros(3)}), "fc.bias"),
        (lambda state: state.update({"module.resnet.0.conv_0.weight": torch.zeros(1)}), "axes"),
        (lambda state: state.update({"module.fc.weight": torch.zeros(1)}), "axes"),
        (lambda state: state.update({"module.embedding.weight": torch.zeros(5000, 3)}), "c_dim '5000'"),
        (lambda state: state.update({"module.embedding.weight": torch.zeros(1, 11)}), "z_dim '0'"),
    ],
    ids=["one fewer", "one more", "a shape", "axes", "another's axes", "too many classes", "no z"],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    assert reason in refused(edited(tmp_path / "model.pt", change))


def test_weights_fewer_than_the_sizes_say_are_refused_before_any_network_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mescheder_file(tmp_path / "model.pt")
    converted = open_official(tmp_path / "model.pt")
    large = replace(converted, config=replace(converted.config, channels=(4096, 4096, 4096)))  # type: ignore[type-var]
    monkeypatch.setattr(official, "family_types", lambda *_: pytest.fail("a network was made"))
    with pytest.raises(ModelError, match="fewer than its sizes say"):
        build(large, tmp_path / "model.pt")


ODD = [ValueError("odd"), KeyError("x"), TypeError("y"), RuntimeError("z\nz"), IndexError(), RecursionError()]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_whatever_converting_runs_into_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    mescheder_file(tmp_path / "model.pt")
    monkeypatch.setattr("reanimate.checkpoints.formats.mescheder.convert", fail)
    assert ("odd" if isinstance(error, ValueError) else "data are damaged") in refused(tmp_path / "model.pt")


@pytest.mark.parametrize("data", [None, 3, {}, [], {"generator": {}}, {"state": {"weight": torch.zeros(2)}}], ids=str)
def test_data_without_a_generator_is_refused(tmp_path: Path, data: object) -> None:
    torch.save(data, tmp_path / "model.pt")
    assert "holds no generator that is known" in refused(tmp_path / "model.pt")


def test_discriminator_alone_is_refused_as_one(tmp_path: Path) -> None:
    discriminator = module("Discriminator", {"weight": torch.zeros(3)})
    for data in (discriminator, {"D": discriminator, "G": None}):
        (tmp_path / "network.pkl").write_bytes(official_pickle(data))
        assert "holds a discriminator but no generator" in refused(tmp_path / "network.pkl")


@pytest.mark.parametrize("content", [None, b"", b"hello", b"\x80\x02", b"PK\x03\x04", b"<html>"])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    refused(path)


def test_weights_of_a_bundle_are_refused_with_a_word_on_what_to_give(tiny_bundle: Path) -> None:
    with pytest.raises(ModelError, match=re.escape("give a bundle's folder")):
        open_official(tiny_bundle / "generator.safetensors")
