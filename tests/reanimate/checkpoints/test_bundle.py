from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_encoder, tiny_generator
from safetensors.torch import save

from reanimate.checkpoints import bundle
from reanimate.checkpoints.bundle import (
    DEFAULT_MODEL,
    Card,
    embedded_models,
    find_bundle,
    generator_config,
    load_bundle,
    read_card,
    save_bundle,
    write_card,
)
from reanimate.errors import MediaError, ModelError
from reanimate.generators.mescheder import Mescheder, MeschederConfig
from reanimate.generators.pggan import PGGAN, PGGANConfig
from reanimate.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, usual_channels
from reanimate.inversion.encoder import Encoder, EncoderConfig

GENERATOR, ENCODER = "generator.safetensors", "encoder.safetensors"


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


def edit_and_vouch(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """An edit by somebody who knows how the digest is made."""

    def both(card: dict[str, Any]) -> None:
        change(card)
        network = json.dumps([card["family"], card["config"]], sort_keys=True)
        digests = sorted(card["files"].values())
        card["digest"] = hashlib.sha256("".join([*digests, network]).encode()).hexdigest()

    edit(folder, both)


def replace_weights(folder: Path, file: str, data: bytes) -> None:
    """Other weights, with a card that vouches for them."""
    (folder / file).write_bytes(data)

    edit_and_vouch(folder, lambda card: card["files"].update({file: hashlib.sha256(data).hexdigest()}))


def refused(folder: Path | str) -> str:
    """The one line, and no more memory than a few pictures need."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as caught:
        load_bundle(str(folder))
    assert len(str(caught.value).splitlines()) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    return str(caught.value)


def test_loaded_model_makes_the_saved_models_picture(tiny_bundle: Path) -> None:
    generator, loaded = tiny_generator(), load_bundle(str(tiny_bundle))
    ws = generator.mapping(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    picture = generator.synthesis(ws)
    assert (loaded.generator.synthesis(ws) - picture).abs().max() < 5e-3 * picture.abs().max()
    assert torch.allclose(loaded.generator.w_avg, generator.w_avg, rtol=1e-3, atol=1e-4)
    crops = torch.rand(2, 3, 16, 16) * 2 - 1
    assert loaded.encoder is not None
    assert torch.allclose(loaded.encoder(crops), tiny_encoder(generator)(crops), atol=2e-2)


def test_loaded_model_is_frozen_and_float32(tiny_bundle: Path) -> None:
    loaded = load_bundle(str(tiny_bundle))
    for network in (loaded.generator, loaded.encoder):
        assert isinstance(network, torch.nn.Module)
        assert not network.training
        assert all(not p.requires_grad and p.dtype == torch.float32 for p in network.parameters())


def test_bundle_saved_again_is_the_same_to_the_byte(tiny_bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(str(tiny_bundle))
    card = save_bundle(tmp_path, "tiny", loaded.generator, loaded.encoder, {}, {}, "MIT")  # type: ignore[arg-type]
    assert card.digest == loaded.card.digest
    for file in (GENERATOR, ENCODER):
        assert (tmp_path / file).read_bytes() == (tiny_bundle / file).read_bytes()


def test_bundle_without_an_encoder_loads_without_one(tmp_path: Path) -> None:
    save_bundle(tmp_path, "bare", tiny_generator(), None, {}, {}, "MIT")
    assert load_bundle(str(tmp_path)).encoder is None
    assert not (tmp_path / ENCODER).exists()


FAMILIES: list[tuple[type[Any], Any]] = [
    (StyleGAN1, StyleGAN1Config(16, (8, 8, 4), z_dim=8, w_dim=8, mapping_layers=2, mapping_width=8, blur=())),
    (StyleGAN2, StyleGAN2Config(16, (8, 8, 4), z_dim=8, w_dim=8, c_dim=3, label=2, architecture="resnet")),
    (PGGAN, PGGANConfig(16, (8, 8, 4), z_dim=8, pixel_norm=False, epsilon=1e-6)),
    (Mescheder, MeschederConfig(16, (8, 4, 4), "resnet", 8, 1)),
]


@pytest.mark.parametrize(("network_type", "config"), FAMILIES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("precision", [torch.float16, torch.float32], ids=str)
def test_every_family_comes_back(tmp_path: Path, network_type: type[Any], config: Any, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    generator = network_type(config).eval().requires_grad_(False)
    card = save_bundle(tmp_path, "m", generator, None, {}, {}, "MIT", precision)
    assert read_card(tmp_path) == card
    loaded = load_bundle(str(tmp_path)).generator
    assert (type(loaded), loaded.config) == (network_type, config)
    assert generator_config(card, "m") == config
    for name, value in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.to(precision).float())  # type: ignore[attr-defined]
    ws = generator.mapping(torch.randn(1, 8))
    same = torch.equal(loaded.synthesis(ws), generator.synthesis(ws))
    assert same == (precision == torch.float32)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_an_error_that_names_them(folder: Path, number: float) -> None:
    state = {name: value.half().contiguous() for name, value in tiny_generator().state_dict().items()}
    state["synthesis_network.b8.conv0.weight"][0, 0, 0, 0] = number
    replace_weights(folder, GENERATOR, save(state))
    assert "b8.conv0.weight" in refused(folder)


def test_weights_of_another_kind_are_an_error(folder: Path) -> None:
    state = {name: value.to(torch.int32).contiguous() for name, value in tiny_generator().state_dict().items()}
    replace_weights(folder, GENERATOR, save(state))
    assert "neither float16 nor float32" in refused(folder)


def test_own_models_are_found_by_name_after_the_embedded(tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("mine", DEFAULT_MODEL):
        shutil.copytree(tiny_bundle, tmp_path / name)
    assert find_bundle("mine", tmp_path) == tmp_path / "mine"
    assert find_bundle(DEFAULT_MODEL, tmp_path) == bundle.EMBEDDED / DEFAULT_MODEL
    with pytest.raises(ModelError, match="mine"):
        find_bundle("nobody", tmp_path)


def test_digest_is_of_all_that_decides_a_picture_and_of_nothing_else(tmp_path: Path) -> None:
    generator = tiny_generator()
    other = StyleGAN2(replace(generator.config, conv_clamp=256.0))
    other.load_state_dict(generator.state_dict())

    def digest(name: str, **facts: Any) -> str:
        return save_bundle(tmp_path / name, name, generator, None, facts, facts, "MIT").digest

    first = digest("a")
    assert digest("b", images_seen=3) == first
    assert save_bundle(tmp_path / "d", "a", other, None, {}, {}, "MIT").digest != first
    generator.synthesis_network.b8.conv0.weight[0, 0, 0, 0] += 0.01
    assert digest("c") != first


def test_encoder_is_part_of_the_digest(tmp_path: Path) -> None:
    generator = tiny_generator()
    digests = {
        save_bundle(tmp_path / str(seed), "m", generator, tiny_encoder(generator, seed), {}, {}, "MIT").digest
        for seed in (0, 1)
    }
    assert len(digests) == 2


def test_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    provenance, measured = {"trained_on": "étude"}, {"w_rms": 0.5, "layers": [1, 2]}
    card = save_bundle(tmp_path, "tiny", tiny_generator(), None, provenance, measured, "CC0")
    assert read_card(tmp_path) == card
    assert (card.name, card.licence, card.provenance, card.measured) == ("tiny", "CC0", provenance, measured)


def test_rewritten_card_leaves_nothing_else_behind(folder: Path) -> None:
    write_card(folder, read_card(folder))
    assert sorted(p.name for p in folder.iterdir()) == [ENCODER, GENERATOR, "model.json"]


def test_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write"):
        save_bundle(tmp_path / "file" / "bundle", "m", tiny_generator(), None, {}, {}, "MIT")


def test_unknown_name_lists_the_known_ones() -> None:
    message = refused("nobody")
    assert "nobody" in message
    for card in embedded_models():
        assert card.name in message


def test_embedded_models_are_found_by_name() -> None:
    names = [card.name for card in embedded_models()]
    assert DEFAULT_MODEL in names
    for name in names:
        assert find_bundle(name) == bundle.EMBEDDED / name


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "a\nb"], ids=["empty", "long", "nul", "two lines"])
def test_name_that_is_no_name_is_an_error(name: str) -> None:
    assert "not found" in refused(name)


@pytest.mark.parametrize("file", [GENERATOR, ENCODER])
def test_damaged_file_is_named(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    message = refused(folder)
    assert file in message and "damaged" in message


@pytest.mark.parametrize("file", [GENERATOR, ENCODER])
def test_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert file in refused(folder)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}", bytes(10**6)])
def test_file_that_is_no_safetensors_is_an_error_even_if_the_card_vouches_for_it(folder: Path, data: bytes) -> None:
    replace_weights(folder, GENERATOR, data)
    assert GENERATOR in refused(folder)


def test_weights_of_other_shapes_are_an_error(folder: Path) -> None:
    state = {name: value.half().contiguous() for name, value in tiny_generator().state_dict().items()}
    name = "synthesis_network.b8.conv0.weight"
    replace_weights(folder, GENERATOR, save({**state, name: state[name][:, :3].contiguous(), "pad": torch.zeros(9999)}))
    assert "does not fit" in refused(folder)


@pytest.mark.parametrize("extra", [True, False], ids=["one more", "one fewer"])
def test_weights_of_other_names_are_an_error(folder: Path, extra: bool) -> None:
    state = {name: value.half().contiguous() for name, value in tiny_generator().state_dict().items()}
    state["other"] = torch.zeros(9999)
    if not extra:
        del state["mapping_network.w_avg"]
    replace_weights(folder, GENERATOR, save(state))
    assert "does not fit" in refused(folder)


def test_encoder_of_another_size_is_an_error(folder: Path) -> None:
    other = tiny_generator(resolution=32)
    save_bundle(folder, "m", tiny_generator(), tiny_encoder(other), {}, {}, "MIT")
    assert "encoder" in refused(folder)


def test_unknown_family_is_an_error_that_lists_the_known(folder: Path) -> None:
    edit_and_vouch(folder, lambda card: card.update(family="stylegan9"))
    message = refused(folder)
    assert "'stylegan9'" in message and "stylegan2" in message


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"card"', "{}", '{"schema": 1}', "[" * 200_000, '{"a":' * 100_000, "\xff", "\0"],
    ids=lambda text: text[:12],
)
def test_card_that_is_no_card_is_an_error(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text, "latin-1")
    assert "model.json" in refused(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"family": ["stylegan2"]},
        {"family": {}},
        {"config": None},
        {"config": []},
        {"files": []},
        {"files": {GENERATOR: 3}},
        {"digest": 3},
        {"digest": "0" * 64},
        {"encoder": 3},
        {"encoder": []},
        {"encoder": {"resolution": 16}},
        {"more": 1},
        {"two\nlines": 1},
    ],
    ids=str,
)
def test_card_with_a_wrong_entry_is_an_error(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, lambda card: card.update(changes))
    refused(folder)


@pytest.mark.parametrize("entry", ["schema", "name", "family", "config", "digest", "files"])
def test_card_without_an_entry_is_an_error(folder: Path, entry: str) -> None:
    edit(folder, lambda card: card.pop(entry))
    refused(folder)


WRONG = [0, -1, 10**9, 10**30, 16.5, "16", None, [], {}, True, float("nan"), float("inf")]
WRONG_LISTS = [[16] * 65, [16, 0, 16], [16, 16, 4097], [16, 16.0, 16], [[16], 16, 16]]


# a mapping network may have no layers; that this one has is the weights' business
SIZES = ["resolution", "z_dim", "w_dim", "channels", "mapping_layers"]
HOSTILE = [(size, value) for size in SIZES for value in WRONG if (size, value) != ("mapping_layers", 0)]


@pytest.mark.parametrize(("size", "value"), HOSTILE, ids=str)
def test_card_with_a_hostile_size_is_an_error(folder: Path, size: str, value: object) -> None:
    edit_and_vouch(folder, lambda card: card["config"].update({size: value}))
    assert size in refused(folder)


@pytest.mark.parametrize("value", WRONG_LISTS, ids=lambda value: str(value)[:20])
def test_card_with_a_hostile_list_is_an_error(folder: Path, value: object) -> None:
    edit_and_vouch(folder, lambda card: card["config"].update(channels=value))
    assert "channels" in refused(folder)


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("size", ["num_ws", "hidden", "channel_max"])
def test_card_with_a_hostile_encoder_is_an_error(folder: Path, size: str, value: object) -> None:
    edit(folder, lambda card: card["encoder"].update({size: value}))
    assert size in refused(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 2048, "w_dim": 4096, "z_dim": 4096, "channels": [4096] * 10},
        {"mapping_layers": 64, "w_dim": 4096, "z_dim": 4096},
        {"resolution": 48},
        {"resolution": 4},
        {"channels": [16, 16]},
        {"channels": [16, 16, 16, 16]},
        {"mapping_layers": 0},
        {"mapping_activation": "sine"},
        {"mapping_lr_multiplier": 0},
        {"mapping_lr_multiplier": "0.01"},
        {"mapping_lr_multiplier": float("nan")},
        {"unknown": 1},
    ],
    ids=str,
)
def test_card_that_asks_for_another_network_than_its_weights_is_an_error(folder: Path, changes: dict[str, Any]) -> None:
    edit_and_vouch(folder, lambda card: card["config"].update(changes))
    refused(folder)


@pytest.mark.parametrize("resolution", [8, 16, 64])
def test_least_size_that_a_card_is_held_against_is_near_the_true_one(resolution: int) -> None:
    channels = usual_channels(resolution, 1024, 128)
    generator = StyleGAN2(StyleGAN2Config(resolution, channels, 64, 64, mapping_layers=3))
    encoder = Encoder(EncoderConfig(resolution, generator.num_ws, 64, 1024, 128, 32))
    for network in (generator, encoder):
        size = sum(value.numel() for value in network.state_dict().values())
        assert size / 4 < network.config.fewest_weights <= size


def test_huge_card_is_an_error(folder: Path) -> None:
    edit(folder, lambda card: card.update(provenance={"text": "x" * (bundle.MAX_CARD_BYTES + 1)}))
    assert "larger than" in refused(folder)


def test_file_names_on_a_card_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes((folder / GENERATOR).read_bytes())
    (folder / GENERATOR).unlink()
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    for name in ("../secret.safetensors", str(secret)):

        def point_elsewhere(card: dict[str, Any], name: str = name) -> None:
            card["files"] = {name: digest, ENCODER: card["files"][ENCODER]}

        edit(folder, point_elsewhere)
        assert f"{GENERATOR} cannot be read" in refused(folder)


def test_card_alone_is_read_without_any_weights(folder: Path) -> None:
    (folder / GENERATOR).unlink()
    assert isinstance(read_card(folder), Card)


def test_weights_on_disk_are_half_as_large_as_in_memory(tiny_bundle: Path) -> None:
    numbers = sum(np.prod(v.shape) for v in tiny_generator().state_dict().values())
    assert (tiny_bundle / GENERATOR).stat().st_size < 2.2 * numbers + 10_000


def test_files_are_as_open_as_their_folder(tiny_bundle: Path) -> None:
    wanted = tiny_bundle.stat().st_mode & 0o666
    assert {path.stat().st_mode & 0o777 for path in tiny_bundle.glob("*.safetensors")} == {wanted}
