"""What is saved comes back bit for bit; what is not what was saved is one line, and no memory."""

from __future__ import annotations

import errno
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artefacts import (
    FrameWriter,
    RecordLog,
    load_arrays,
    load_deltas,
    load_identity,
    load_json,
    load_latents,
    load_rehearsal,
    load_track,
    open_frames,
    save_arrays,
    save_deltas,
    save_identity,
    save_json,
    save_latents,
    save_rehearsal,
    save_track,
)
from reanimate.errors import StoreError
from reanimate.reading import SIZE
from reanimate.types import FaceTrack, Identity, Latents, PoseDeltas, Rehearsal, VideoInfo

RATE = Fraction(30000, 1001)


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def a_track() -> tuple[FaceTrack, VideoInfo]:
    detected = np.array([True, False, True])
    landmarks = noise(3, 68, 2)
    landmarks[1] = np.nan
    info = VideoInfo(640, 480, 3, RATE, True, duration=0.1, audio_codecs=("aac",))
    return FaceTrack(detected, landmarks, noise(3, 4, 2), np.array([True, False, False])), info


def test_track_comes_back(tmp_path: Path) -> None:
    track, info = a_track()
    save_track(tmp_path, track, info)
    found, found_info = load_track(tmp_path)
    assert found_info == info
    for name in ("detected", "landmarks", "quads", "cuts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(track, name))
        assert getattr(found, name).dtype == getattr(track, name).dtype


def test_latents_deltas_and_identity_come_back(tmp_path: Path) -> None:
    latents = Latents(noise(3, 2, 4), np.array([1, np.nan, 2], np.float32), RATE)
    save_latents(tmp_path, latents)
    found = load_latents(tmp_path)
    np.testing.assert_array_equal(found.ws, latents.ws)
    np.testing.assert_array_equal(found.loss, latents.loss)
    assert found.frame_rate == RATE
    found.ws[0] = 0  # writable, as torch wants it
    deltas = PoseDeltas(noise(3, 2, 4), 0.5, RATE, "sha256:x", "clip")
    save_deltas(tmp_path, deltas)
    again = load_deltas(tmp_path)
    np.testing.assert_array_equal(again.deltas, deltas.deltas)
    assert (again.scale, again.frame_rate, again.model, again.normalisation) == (0.5, RATE, "sha256:x", "clip")
    assert again.moves is None
    cuts = np.array([True, False, True])
    save_deltas(tmp_path, replace(deltas, moves=noise(3, 5), cuts=cuts))
    np.testing.assert_array_equal(load_deltas(tmp_path).cuts, cuts)
    np.testing.assert_array_equal(load_deltas(tmp_path).moves, noise(3, 5))
    identity = Identity(noise(2, 4))
    save_identity(tmp_path, identity)
    np.testing.assert_array_equal(load_identity(tmp_path).ws, identity.ws)


def test_rehearsal_comes_back_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    rehearsal = Rehearsal(np.array([0, 2, 2]), noise(3), noise(5), noise(3, 2, 4), noise(5, SIZE))
    save_rehearsal(tmp_path, rehearsal)
    found = load_rehearsal(tmp_path)
    for name in ("attribute", "shown", "rest", "offsets", "reader"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rehearsal, name))
    for broken in (replace(rehearsal, shown=noise(2)), replace(rehearsal, rest=np.full(5, np.nan, np.float32))):
        save_rehearsal(tmp_path, broken)
        with pytest.raises(StoreError):
            load_rehearsal(tmp_path)


def test_same_arrays_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_identity(tmp_path / name, Identity(noise(2, 4)))
    assert (tmp_path / "a/identity.npz").read_bytes() == (tmp_path / "b/identity.npz").read_bytes()


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ws is float64, expected float32"):
        save_identity(tmp_path, Identity(np.zeros((2, 4))))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ws has shape \(4,\), expected \(any, any\)"):
        save_identity(tmp_path, Identity(noise(4)))
    with pytest.raises(ValueError, match=r"shape \(0, 4\)"):
        save_identity(tmp_path, Identity(noise(0, 4)))
    assert list(tmp_path.iterdir()) == []


def one_line(load: Callable[[], object], said: str = "") -> None:
    with pytest.raises(StoreError) as caught:
        load()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_arrays_that_are_not_finite_or_not_alike_are_damage(tmp_path: Path) -> None:
    save_latents(tmp_path, Latents(np.full((2, 1, 1), np.inf, np.float32), np.zeros(2, np.float32), RATE))
    one_line(lambda: load_latents(tmp_path), "not finite")
    save_latents(tmp_path, Latents(noise(3, 1, 1), np.zeros(2, np.float32), RATE))
    one_line(lambda: load_latents(tmp_path), "different lengths")
    track, info = a_track()
    track.landmarks[0, 0, 0] = np.nan
    save_track(tmp_path, track, info)
    one_line(lambda: load_track(tmp_path), "landmarks that are not finite")
    track.quads[0] = np.nan
    track.landmarks[0] = 0
    save_track(tmp_path, track, info)
    one_line(lambda: load_track(tmp_path), "quads that are not finite")


@pytest.mark.parametrize(
    "facts",
    [
        {}, [], None, {"frame_rate": "1e999999999"}, {"frame_rate": "0/1"}, {"frame_rate": "-1/1"}, {"frame_rate": 1.5},
        {"frame_rate": "25/1", "more": 1}, {"frame_rate": None},
    ],
)  # fmt: skip
def test_facts_of_another_kind_are_damage(tmp_path: Path, facts: object) -> None:
    save_latents(tmp_path, Latents(noise(3, 1, 1), np.zeros(3, np.float32), RATE))
    save_json(tmp_path / "latents.json", facts)
    one_line(lambda: load_latents(tmp_path))


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def load_codes(folder: Path) -> dict[str, np.ndarray]:
    """One array, without the others of an identity."""
    return load_arrays(folder / "identity.npz", {"ws": (np.float32, (None, None))})


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000), }"
GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"ws.npy": npy(HUGE)}, "not what the file holds"),
        ({"ws.npy": npy(GOOD, b"\0" * 31)}, "not what the file holds"),
        ({"ws.npy": npy(GOOD, b"\0" * 33)}, "not what the file holds"),
        ({"ws.npy": npy(GOOD.replace("(2, 4)", "(-2, -4)"), b"\0" * 32)}, "plain numbers"),
        ({"ws.npy": npy(GOOD.replace("<f4", "|O"), b"\0" * 64)}, "plain numbers"),
        ({"ws.npy": npy(GOOD.replace("False", "True"), b"\0" * 32)}, "C order"),
        ({"ws.npy": npy(GOOD.replace("<f4", ">f4"), b"\0" * 32)}, "expected float32"),
        ({"ws.npy": npy("(" * 100)}, ""),
        ({"ws.npy": npy(GOOD.replace("2, 4", "2L, 4L"), b"\0" * 32)}, "plain numbers"),
        ({"ws.npy": npy(GOOD.replace("<f4", "<f9"), b"\0" * 32)}, "plain numbers"),
        ({"ws.npy": npy(GOOD.replace("<f4", "|f1"), b"\0" * 32)}, "plain numbers"),
        ({"ws.npy": npy("__import__('os').system('x')")}, ""),
        ({"ws.npy": b""}, ""),
        ({"../ws.npy": b""}, "instead of ws"),
        ({"ws.npy": npy(GOOD, b"\0" * 32), "more.npy": b""}, "instead of ws"),
        ({}, "instead of ws"),
    ],
)
def test_hostile_npz_is_one_line(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    npz(tmp_path / "identity.npz", members)
    one_line(lambda: load_codes(tmp_path), said)


def test_compressed_npz_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    npz(tmp_path / "identity.npz", {"ws.npy": npy(GOOD, b"\0" * (1 << 24))}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "identity.npz").stat().st_size < 1 << 16
    one_line(lambda: load_codes(tmp_path), "compressed")


def test_member_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.npz"
    header = npy(GOOD.replace("(2, 4)", "(1000, 1000000)"))
    npz(path, {"ws.npy": header})
    size = struct.pack("<II", len(header), len(header))  # compressed, uncompressed
    claimed = struct.pack("<II", len(header), len(header) + 4_000_000_000)
    path.write_bytes(path.read_bytes().replace(size, claimed))
    one_line(lambda: load_codes(tmp_path), "claims more bytes than there are")


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    npz(tmp_path / "identity.npz", {"ws.npy": buffer.getvalue()})
    one_line(lambda: load_codes(tmp_path), "plain numbers")


def test_any_flipped_or_missing_byte_is_the_same_arrays_or_one_line(tmp_path: Path) -> None:
    identity = Identity(noise(2, 4))
    save_identity(tmp_path, identity)
    path = tmp_path / "identity.npz"
    whole = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for trial in range(300):
        broken = bytearray(whole)
        if trial % 3 == 0:
            del broken[draw.randrange(len(broken)) :]
        else:
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            np.testing.assert_array_equal(load_identity(tmp_path).ws, identity.ws)
        except StoreError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 200


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    one_line(lambda: load_identity(tmp_path), "no such file")
    one_line(lambda: open_frames(tmp_path / "frames.npy"), "no such file")
    one_line(lambda: load_json(tmp_path / "a.json"), "no such file")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 10_000, "NaN", '"\xff"', " " * (5 << 20)])
def test_hostile_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    one_line(lambda: load_json(tmp_path / "a.json"))


def test_json_too_large_to_read_again_is_not_written(tmp_path: Path) -> None:
    one_line(lambda: save_json(tmp_path / "a.json", " " * (5 << 20)), "can be read again")
    assert list(tmp_path.iterdir()) == []


def test_frames_come_back_without_being_read(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    with FrameWriter(tmp_path / "frames.npy", None, 8) as writer:
        for frame in frames:
            writer.write(frame[:, ::-1])
    found = open_frames(tmp_path / "frames.npy")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, frames[:, :, ::-1])
    np.testing.assert_array_equal(np.load(tmp_path / "frames.npy", mmap_mode="r"), found)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_frame_writer_holds_to_what_was_announced(tmp_path: Path) -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    with FrameWriter(tmp_path / "a.npy", 1, 8) as writer:
        writer.write(frame)
        with pytest.raises(ValueError, match="more than the 1 frames"):
            writer.write(frame)
        with pytest.raises(ValueError, match="expected \\[R, R, 3\\] uint8"):
            writer.write(frame[:4])
    for announced in (2, None):
        with (
            pytest.raises(ValueError, match="frames were written"),
            FrameWriter(tmp_path / "b.npy", announced, 8),
        ):
            pass


def test_interrupted_frames_are_not_taken_for_whole_ones(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), FrameWriter(tmp_path / "a.npy", None, 8) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
        raise KeyboardInterrupt
    one_line(lambda: open_frames(tmp_path / "a.npy"), "not frames")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 200,
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8, 3), }"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 8, 8, 3), }", b"\0" * 191),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 8, 8, 3), }", b"\0" * 1536),
        npy("(" * 110),
        npy("'"),
    ],
)
def test_hostile_frames_are_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    one_line(lambda: open_frames(tmp_path / "a.npy"))


def record(i: int) -> bytes:
    return struct.pack("<Q", i * i)


def test_log_keeps_its_records_in_order(tmp_path: Path) -> None:
    with RecordLog(tmp_path / "log", 8) as log:
        for i in range(10):
            log.append(record(i))
        assert log.read_all() == [record(i) for i in range(10)]
        log.append(record(10))
    with RecordLog(tmp_path / "log", 8) as log:
        assert len(log) == 11
        log.append(record(11))
        assert log.read_all() == [record(i) for i in range(12)]
        with pytest.raises(ValueError, match="a record of 7 bytes"):
            log.append(b"1234567")


def test_log_goes_on_after_any_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with RecordLog(path, 8) as log:
        for i in range(4):
            log.append(record(i))
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        complete = max(0, size - 12) // 12
        with RecordLog(path, 8) as log:
            assert log.read_all() == [record(i) for i in range(complete)]
            for i in range(complete, 4):
                log.append(record(i))
        assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 12, b"\0" * 1000, b"\xff" * 24])
def test_log_drops_a_tail_that_was_never_written(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    with RecordLog(path, 8) as log:
        log.append(record(0))
    path.write_bytes(path.read_bytes() + tail)
    with RecordLog(path, 8) as log:
        assert log.read_all() == [record(0)]


def test_log_stops_at_a_record_in_the_wrong_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with RecordLog(path, 8) as log:
        for i in range(3):
            log.append(record(i))
    whole = path.read_bytes()
    path.write_bytes(whole[:24] + whole[36:48] + whole[24:36])
    with RecordLog(path, 8) as log:
        assert log.read_all() == [record(0)]


def test_log_of_another_record_size_begins_anew(tmp_path: Path) -> None:
    with RecordLog(tmp_path / "log", 8) as log:
        log.append(record(1))
    with RecordLog(tmp_path / "log", 4) as log:
        assert log.read_all() == []
        log.append(b"abcd")
    (tmp_path / "log").write_bytes(b"something else altogether")
    with RecordLog(tmp_path / "log", 4) as log:
        assert log.read_all() == []


def test_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    one_line(lambda: save_identity(tmp_path, Identity(noise(2, 4))), "no space left on the disk; free some or pass")
    one_line(lambda: save_arrays(tmp_path / "none/a.npz", {"a": noise(1)}, {"a": (np.float32, (1,))}), "no such file")


def test_written_json_is_plain(tmp_path: Path) -> None:
    save_json(tmp_path / "a.json", {"b": [1, 2.5, "ü"], "a": None})
    assert (
        json.loads((tmp_path / "a.json").read_text())
        == load_json(tmp_path / "a.json")
        == {"b": [1, 2.5, "ü"], "a": None}
    )
