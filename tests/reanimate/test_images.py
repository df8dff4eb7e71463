from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from reanimate.errors import MediaError
from reanimate.images import (
    SYNTHETIC,
    encode_png,
    is_picture,
    read_image,
    resize,
    sheet,
    to_pictures,
    to_tensor,
    write_image,
)

RED, BLUE = (200, 10, 30), (5, 20, 250)


def halves(height: int = 48, width: int = 64) -> np.ndarray:
    """Red above, blue below: a wrong colour order or a turned picture shows."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2], picture[height // 2 :] = RED, BLUE
    return picture


def near(pixel: np.ndarray, colour: tuple[int, int, int], levels: int = 12) -> bool:
    return int(np.abs(pixel.astype(int) - colour).max()) <= levels


def encoded(suffix: str, picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def error_of(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert caught.value.path == path
    return str(caught.value)


def test_written_picture_reads_back_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    write_image(tmp_path / "a.png", picture)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_every_named_format_is_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, halves()))
    picture = read_image(path)
    assert picture.shape == (48, 64, 3) and picture.dtype == np.uint8
    assert near(picture[5, 5], RED) and near(picture[-5, -5], BLUE)
    assert is_picture(path)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, lambda p: np.rot90(p)),
        (2, lambda p: p[:, ::-1]),
    ],
)
def test_picture_is_turned_upright_by_its_exif_tag(tmp_path: Path, orientation: int, upright: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = halves()
    stored[:, :20] = (0, 200, 0)
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    expected = upright(stored)  # type: ignore[operator]
    picture = read_image(tmp_path / "a.jpg")
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_alpha_palette_and_cmyk_come_out_as_plain_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(halves()).convert(mode).save(path)
    picture = read_image(path)
    assert picture.shape == (48, 64, 3)
    assert near(picture[0, 0], RED, 30) and near(picture[-1, -1], BLUE, 30)


def test_gray_comes_out_as_three_equal_channels(tmp_path: Path) -> None:
    gray = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    Image.fromarray(gray).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(gray[:, :, None], 3, 2))


def test_sixteen_bit_keeps_its_brightness(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(halves(), cv2.COLOR_RGB2BGR).astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), halves())


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_truncated_picture_is_an_error_not_half_a_picture(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix, np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    path = tmp_path / f"a.{suffix}"
    for tenth in range(1, 10):
        path.write_bytes(data[: len(data) * tenth // 10])
        assert len(error_of(path).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_what_is_no_picture_is_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert len(error_of(path).splitlines()) == 1


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "none.png")
    assert "directory" in error_of(tmp_path)


@pytest.mark.parametrize("size", [(20_000, 20_000), (100_000, 100_000), (1 << 20, 512), (2**31 - 1, 2**31 - 1)])
def test_file_that_claims_to_be_huge_is_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_claiming(*size))
    assert len(error_of(path).splitlines()) == 1


def test_picture_over_the_limit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reanimate.images.MAX_PIXELS", 48 * 64 - 1)
    write_image(tmp_path / "a.png", halves())
    assert "64x48" in error_of(tmp_path / "a.png")


def test_opencv_says_nothing_of_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(encoded("tif", halves())[:2000])
    code = f"""
from reanimate.errors import MediaError
from reanimate.images import read_image
try:
    read_image({str(path)!r})
except MediaError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_synthetic_png_says_so_and_still_decodes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", halves(), synthetic=True)
    with Image.open(tmp_path / "a.png") as picture:
        picture.verify()  # the checksums of every chunk
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Description"] == SYNTHETIC  # type: ignore[attr-defined]
    assert np.array_equal(read_image(tmp_path / "a.png"), halves())


def test_plain_png_claims_nothing(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", halves())
    assert b"tEXt" not in (tmp_path / "a.png").read_bytes()


def test_writing_into_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot write"):
        write_image(tmp_path / "none" / "a.png", halves())


def test_encoding_what_is_no_picture_is_a_programmers_error() -> None:
    with pytest.raises((ValueError, cv2.error)):
        encode_png(np.zeros((0, 5, 3), np.uint8))


def test_pictures_survive_the_way_to_tensors_and_back_exactly() -> None:
    every = np.arange(256 * 3, dtype=np.int64).reshape(1, 16, 16, 3) % 256
    pictures = np.concatenate([every, every[:, ::-1]]).astype(np.uint8)
    assert np.array_equal(to_pictures(to_tensor(pictures)), pictures)


def test_tensor_has_channels_first_in_minus_one_to_one() -> None:
    tensor = to_tensor(np.stack([halves(4, 6)]))
    assert tensor.shape == (1, 3, 4, 6) and tensor.dtype == torch.float32
    assert tensor[0, :, 0, 0].tolist() == pytest.approx([c / 127.5 - 1 for c in RED])
    assert to_tensor(np.array([[[[0, 255, 0]]]], np.uint8)).flatten().tolist() == [-1, 1, -1]


def test_read_only_pictures_become_tensors_that_may_be_written() -> None:
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    pictures.flags.writeable = False
    to_tensor(pictures).add_(1)
    assert pictures.max() == 0


def test_values_outside_the_range_are_clipped() -> None:
    assert to_pictures(torch.tensor([-5.0, 0.0, 5.0]).view(1, 3, 1, 1)).tolist() == [[[[0, 128, 255]]]]


def test_resizing_gives_the_size_and_keeps_a_flat_colour() -> None:
    for width, height in ((3, 9), (200, 100), (64, 48)):
        assert np.array_equal(
            resize(np.full((48, 64, 3), RED, np.uint8), width, height), np.full((height, width, 3), RED, np.uint8)
        )


def test_sheet_places_every_picture_and_leaves_gaps_white() -> None:
    red, blue = np.full((4, 4, 3), RED, np.uint8), np.full((4, 4, 3), BLUE, np.uint8)
    made = sheet([[red, blue], [blue]], gap=2)
    assert made.shape == (10, 10, 3)
    assert np.array_equal(made[:4, :4], red) and np.array_equal(made[:4, 6:], blue)
    assert np.array_equal(made[6:, :4], blue)
    assert (made[4:6] == 255).all() and (made[6:, 4:] == 255).all()
