from __future__ import annotations

import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reanimate.errors import MediaError, ModelError, ReanimateError
from reanimate.pose_file import check_model, load_pose, save_pose
from reanimate.types import PoseDeltas

HEADER = {
    "format": "reanimate-pose",
    "version": 3,
    "scale": 0.25,
    "frame_rate": "30000/1001",
    "model": "abc",
    "normalisation": "clip",
}


def pose(num_frames: int = 5) -> PoseDeltas:
    deltas = np.random.default_rng(0).normal(size=(num_frames, 6, 8)).astype(np.float32)
    values = np.linspace(-1, 1, num_frames * 5, dtype=np.float32).reshape(num_frames, 5)
    more = {"attributes": 9 * values, "head": values[:, :4], "moves": 5 * values}
    return PoseDeltas(deltas, 0.1 + 0.2, Fraction(30000, 1001), "a" * 64, **more)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def write(path: Path, deltas: bytes | None = None, header: bytes | None = None, **changed: Any) -> Path:
    """A pose file with some of it replaced."""
    if deltas is None:
        deltas = npy(pose().deltas)
    if header is None:
        header = npy(np.array(json.dumps({**HEADER, **changed})))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deltas.npy", deltas)
        archive.writestr("header.npy", header)
    return path


def refused(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        load_pose(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_pose_comes_back_exactly(tmp_path: Path) -> None:
    saved = pose()
    save_pose(tmp_path / "pose.npz", saved)
    loaded = load_pose(tmp_path / "pose.npz")
    for name in ("deltas", "attributes", "head", "moves"):
        found = getattr(loaded, name)
        assert np.array_equal(found, getattr(saved, name)) and found.dtype == np.float32
    assert (loaded.scale, loaded.frame_rate, loaded.model, loaded.normalisation) == (
        saved.scale,
        saved.frame_rate,
        saved.model,
        saved.normalisation,
    )


def test_name_is_kept_as_given_and_nothing_else_is_left(tmp_path: Path) -> None:
    save_pose(tmp_path / "smile.pose", pose())
    assert [p.name for p in tmp_path.iterdir()] == ["smile.pose"]


def test_plain_numpy_reads_it(tmp_path: Path) -> None:
    save_pose(tmp_path / "pose.npz", pose())
    with np.load(tmp_path / "pose.npz", allow_pickle=False) as data:
        assert sorted(data.files) == ["attributes", "deltas", "head", "header", "moves"]
        header = json.loads(str(data["header"]))
        assert data["deltas"].shape == (5, 6, 8)
    assert header["frame_rate"] == "30000/1001"
    assert set(header) == set(HEADER)


def test_who_was_filmed_is_not_in_the_file(tmp_path: Path) -> None:
    save_pose(tmp_path / "pose.npz", pose())
    with zipfile.ZipFile(tmp_path / "pose.npz") as archive:
        assert sorted(archive.namelist()) == ["attributes.npy", "deltas.npy", "head.npy", "header.npy", "moves.npy"]


def test_hand_made_file_is_read(tmp_path: Path) -> None:
    loaded = load_pose(write(tmp_path / "pose.npz"))
    assert (loaded.scale, loaded.frame_rate) == (0.25, Fraction(30000, 1001))
    assert loaded.attributes is None and loaded.head is None and loaded.moves is None, "they may be left out"


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((5, 3)), np.full((5, 4), np.nan), np.full((5, 4), 1e9)])
def test_head_that_is_none_is_one_line_of_error(tmp_path: Path, wrong: np.ndarray) -> None:
    path = write(tmp_path / "pose.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("head.npy", npy(wrong.astype(np.float32)))
    refused(path)


@pytest.mark.parametrize("wrong", [np.zeros((4, 5)), np.zeros((5, 4)), np.full((5, 5), np.nan)])
def test_moves_that_are_none_are_one_line_of_error(tmp_path: Path, wrong: np.ndarray) -> None:
    path = write(tmp_path / "pose.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("moves.npy", npy(wrong.astype(np.float32)))
    refused(path)


@pytest.mark.parametrize("wrong", [np.zeros(4, bool), np.zeros((5, 1), bool), np.zeros(5, np.float32)])
def test_cuts_that_are_none_are_one_line_of_error(tmp_path: Path, wrong: np.ndarray) -> None:
    path = write(tmp_path / "pose.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cuts.npy", npy(wrong))
    refused(path)


def test_cuts_are_kept(tmp_path: Path) -> None:
    cuts = np.array([True, False, False, True, False])
    save_pose(tmp_path / "pose.npz", replace(pose(), cuts=cuts))
    np.testing.assert_array_equal(load_pose(tmp_path / "pose.npz").cuts, cuts)


def test_file_of_another_version_says_which_and_what_to_do(tmp_path: Path) -> None:
    said = refused(write(tmp_path / "pose.npz", version=1))
    assert "reanimate-pose 1, not reanimate-pose 3" in said and "pose export" in said


def test_pickle_inside_is_refused_and_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    loaded = np.empty(3, object)
    loaded[0] = Payload()
    pickle.loads(pickle.dumps(Payload()))
    assert (tmp_path / "ran").exists()  # the payload works where it is let
    (tmp_path / "ran").unlink()
    for part in ({"deltas": npy(loaded)}, {"header": npy(loaded)}):
        refused(write(tmp_path / "pose.npz", **part))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "other"},
        {"format": "two\nlines"},
        {"version": 2},
        {"version": "3"},
        {"scale": "large"},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": -1},
        {"scale": 10**400},
        {"scale": None},
        {"frame_rate": "25"},
        {"frame_rate": "25/0"},
        {"frame_rate": "-25/1"},
        {"frame_rate": "1/2/3"},
        {"frame_rate": "a/b"},
        {"frame_rate": 25.0},
    ],
    ids=lambda changed: str(changed)[:30],
)
def test_wrong_header_is_one_line_of_error(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = write(tmp_path / "pose.npz", **changed)
    if changed == {"frame_rate": "25"}:
        assert load_pose(path).frame_rate == 25  # a whole number is a fraction too
    else:
        refused(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{", '"text"', "[" * 100_000, "{}", '{"format": 1}'])
def test_header_that_is_no_header_is_one_line_of_error(tmp_path: Path, text: str) -> None:
    refused(write(tmp_path / "pose.npz", header=npy(np.array(text))))


@pytest.mark.parametrize(
    "deltas",
    [
        np.zeros((0, 6, 8), np.float32),
        np.zeros((5, 6), np.float32),
        np.float32(3),
        np.full((5, 6, 8), np.nan, np.float32),
        np.full((5, 6, 8), np.inf, np.float32),
        np.full((5, 6, 8), "text"),
    ],
    ids=lambda a: f"{a.shape}{a.dtype}",
)
def test_deltas_of_no_use_are_one_line_of_error(tmp_path: Path, deltas: np.ndarray) -> None:
    refused(write(tmp_path / "pose.npz", npy(deltas)))


def test_file_cut_at_any_tenth_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pose.npz"
    save_pose(path, pose())
    data = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(data[: len(data) * tenth // 10])
        refused(path)


def test_any_damaged_byte_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pose.npz"
    save_pose(path, pose(1))
    data, wanted = path.read_bytes(), pose(1)
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ (0xFF if i % 2 else 0x01)]) + data[i + 1 :])
        try:
            loaded = load_pose(path)
        except MediaError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert np.array_equal(loaded.deltas, wanted.deltas) and loaded.scale == wanted.scale, i


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000, 1000)", "(9999999999, 1, 1)", "(-1, 6, 8)", "(4611686018427387904, 8)"]
)
def test_header_that_claims_a_huge_array_is_refused_before_it_is_allocated(tmp_path: Path, shape: str) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    path = write(tmp_path / "pose.npz", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(960))
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_archive_that_claims_more_than_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "pose.npz")
    data = path.read_bytes()
    entry = data.index(b"PK\x01\x02")
    path.write_bytes(data[: entry + 24] + struct.pack("<I", 0xFFFFFFF0) + data[entry + 28 :])
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_bomb_beside_the_arrays_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reanimate.pose_file.MAX_BYTES", 100_000)
    path = write(tmp_path / "pose.npz")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(200_000))
    assert "claims more than" in refused(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", bytes(1000)])
def test_what_is_no_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pose.npz").write_bytes(content)
    assert "pose export" in refused(tmp_path / "pose.npz")


def test_other_archive_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "pose.npz", something=np.zeros(3))
    assert "pose export" in refused(tmp_path / "pose.npz")


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.npz")
    assert "directory" in refused(tmp_path)


def test_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot write"):
        save_pose(tmp_path / "none" / "pose.npz", pose())


def test_pose_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="export it again") as caught:
        check_model(Path("pose.npz"), pose(), "b" * 64)
    assert "aaaaaaaaaaaa" in str(caught.value) and "bbbbbbbbbbbb" in str(caught.value)


def test_pose_of_this_model_is_accepted() -> None:
    try:
        check_model(Path("pose.npz"), pose(), "a" * 64)
    except ReanimateError as error:
        pytest.fail(str(error))
