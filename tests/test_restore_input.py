"""Pictures and masks as people have them: handled, or one clear line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Done
from PIL import Image

from reanimate.images import read_image, resize, write_image

Call = Callable[..., Done]
SIDE = 48


@pytest.fixture
def model(tiny_bundle: Path) -> list[object]:
    return ["--model", tiny_bundle, "--steps", 2, "--no-align"]


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    write_image(tmp_path / "crop.png", smooth())
    return tmp_path / "crop.png"


def smooth() -> np.ndarray:
    return resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8), SIDE, SIDE)


def mask_file(path: Path, marked: np.ndarray) -> Path:
    write_image(path, np.repeat(np.uint8(255) * marked[:, :, None], 3, 2))
    return path


def square(side: int = SIDE) -> np.ndarray:
    marked = np.zeros((side, side), np.bool_)
    marked[20:28, 18:30] = True
    return marked


def test_mask_of_another_size_is_one_line(call: Call, crop: Path, model: list[object], tmp_path: Path) -> None:
    mask = mask_file(tmp_path / "mask.png", square(40))
    error = call("inpaint", crop, "--mask", mask, "-o", "out.png", *model, code=1).error
    assert "mask.png: the mask is 40x40 px and the picture 48x48; they must be of one size" in error
    assert not Path("out.png").exists()


@pytest.mark.parametrize(("value", "complaint"), [(False, "marks nothing"), (True, "marks everything")])
def test_empty_or_full_mask_is_one_line(
    call: Call, crop: Path, model: list[object], tmp_path: Path, value: bool, complaint: str
) -> None:
    mask = mask_file(tmp_path / "mask.png", np.full((SIDE, SIDE), value))
    assert (
        f"mask.png: the mask {complaint}" in call("inpaint", crop, "--mask", mask, "-o", "o.png", *model, code=1).error
    )


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ("1,2,3", "is not X,Y,W,H in px"),
        ("a,b,c,d", "is not X,Y,W,H in px"),
        ("-1,0,4,4", "is not X,Y,W,H in px"),
        ("40,0,9,4", "reaches beyond the picture of 48x48 px"),
        ("3,3,0,4", "marks nothing"),
        ("0,0,48,48", "marks everything"),
    ],
)
def test_bad_box_is_one_line(call: Call, crop: Path, model: list[object], box: str, complaint: str) -> None:
    assert complaint in call("inpaint", crop, "--box", box, "-o", "out.png", *model, code=1).error


def test_mask_and_box_or_neither_is_wrong_usage(call: Call, crop: Path, model: list[object]) -> None:
    for options in ([], ["--mask", crop, "--box", "1,1,2,2"]):
        assert "either --mask or --box" in call("inpaint", crop, *options, "-o", "out.png", *model, code=2).err


def test_mask_that_is_no_picture_is_one_line(call: Call, crop: Path, model: list[object], tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    error = call("inpaint", crop, "--mask", "mask.png", "-o", "out.png", *model, code=1).error
    assert "mask.png: not a picture" in error


@pytest.mark.parametrize("factor", ["0", "1", "-2", "65", "x", "1.5"])
def test_bad_factor_is_one_line(call: Call, crop: Path, model: list[object], factor: str) -> None:
    assert "--factor" in call("upscale", crop, "--factor", factor, "-o", "out.png", *model, code=1).error


def test_picture_that_is_large_already_is_one_line(call: Call, crop: Path, model: list[object]) -> None:
    error = call("upscale", crop, "-o", "out.png", *model, code=1).error
    assert "crop.png: the face is 48 px wide and the model draws 16, which adds nothing; use a larger model" in error


@pytest.mark.parametrize("shape", [(8, 12), (3, 3)])
def test_crop_must_be_square_and_more_than_a_few_px(
    call: Call, model: list[object], shape: tuple[int, int], tmp_path: Path
) -> None:
    write_image(tmp_path / "wide.png", np.zeros((*shape, 3), np.uint8))
    assert "a crop must" in call("upscale", "wide.png", "-o", "out.png", *model, code=1).error


@pytest.mark.parametrize("command", [("inpaint", "--box", "9,9,9,9"), ("upscale", "--factor", 2)], ids=["in", "up"])
@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("out.jpg", "pictures are written as png"),
        ("nowhere/out.png", "no such folder"),
        ("crop.png", "is an input too"),
    ],
)
def test_bad_output_is_one_line_before_any_work(
    call: Call, crop: Path, model: list[object], command: tuple[object, ...], output: str, complaint: str
) -> None:
    before = crop.read_bytes()
    name, *options = command
    assert complaint in call(name, crop, *options, "-o", output, *model, code=1).error
    assert crop.read_bytes() == before


def test_picture_without_a_face_is_one_line(call: Call, crop: Path, model: list[object]) -> None:
    aligned = [option for option in model if option != "--no-align"]
    error = call("inpaint", crop, "--box", "20,20,6,6", "-o", "out.png", *aligned, code=1).error
    assert "no human face found" in error and "--no-align" in error


def saved(picture: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def odd_file(kind: str) -> bytes:
    """The smooth crop as a file of an uncommon kind."""
    plain = Image.fromarray(smooth())
    if kind == "gray":
        return saved(plain.convert("L"), format="png")
    if kind == "gray with alpha":
        return saved(plain.convert("LA"), format="png")
    if kind == "alpha":
        return saved(plain.convert("RGBA"), format="png")
    if kind == "palette":
        return saved(plain.quantize(64), format="png")
    if kind == "16 bit":
        return saved(Image.fromarray(smooth()[:, :, 0].astype(np.uint16) * 257), format="png")
    if kind == "cmyk":
        return saved(plain.convert("CMYK"), format="jpeg", quality=95, subsampling=0)
    exif = plain.getexif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    return saved(plain, format="jpeg", quality=95, subsampling=0, exif=exif)


def expected(kind: str) -> np.ndarray:
    if kind in ("gray", "gray with alpha"):
        return np.repeat(np.asarray(Image.fromarray(smooth()).convert("L"))[:, :, None], 3, 2)
    if kind == "16 bit":
        return np.repeat(smooth()[:, :, :1], 3, 2)
    return np.rot90(smooth(), -1) if kind == "exif" else smooth()


@pytest.mark.parametrize("kind", ["gray", "gray with alpha", "alpha", "palette", "16 bit", "cmyk", "exif"])
def test_uncommon_kind_of_picture_is_restored(call: Call, model: list[object], tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("odd.jpg" if kind in ("cmyk", "exif") else "odd.png")
    path.write_bytes(odd_file(kind))
    mask = mask_file(tmp_path / "mask.png", square())
    call("inpaint", path, "--mask", mask, "-o", "out.png", *model)
    made = read_image("out.png").astype(int)
    assert made.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(made[~square()], read_image(path)[~square()])
    assert np.abs(made - expected(kind))[~square()].mean() < (12 if kind == "palette" else 4)
    small = tmp_path / f"small{path.suffix}"
    small.write_bytes(path.read_bytes())
    write_image(tmp_path / "small.png", resize(read_image(path), 8, 8))
    call("upscale", tmp_path / "small.png", "--factor", 2, "-o", "large.png", *model)
    assert read_image("large.png").shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "I;16"])
def test_mask_may_be_of_any_kind(call: Call, crop: Path, model: list[object], tmp_path: Path, mode: str) -> None:
    marked = Image.fromarray(np.uint8(255) * square())
    made = Image.fromarray(square().astype(np.uint16) * 65535) if mode == "I;16" else marked.convert(mode)
    made.save(tmp_path / "mask.png")
    mask_file(tmp_path / "plain.png", square())
    for mask in ("mask.png", "plain.png"):
        call("inpaint", crop, "--mask", mask, "-o", f"{mask}.out.png", *model)
    assert Path("mask.png.out.png").read_bytes() == Path("plain.png.out.png").read_bytes()
