from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reanimate.errors import MediaError
from reanimate.faces.detect import model_file
from reanimate.images import read_image, resize, to_tensor
from reanimate.training.descriptor import CHIP_SIDE, Descriptor, read_descriptor
from reanimate.training.identity import WEIGHTS


@pytest.fixture(scope="module")
def network() -> Descriptor:
    return Descriptor(read_descriptor(model_file(WEIGHTS)))


def test_descriptor_is_dlibs_on_the_same_chip(network: Descriptor, face_picture: Path) -> None:
    dlib = pytest.importorskip("dlib")
    theirs = dlib.face_recognition_model_v1(str(model_file(WEIGHTS)))
    face = resize(read_image(face_picture), CHIP_SIDE, CHIP_SIDE)
    noise = np.random.default_rng(0).integers(0, 256, face.shape, np.uint8)
    for chip in (face, noise):
        ours = network(to_tensor(chip[None]))[0].numpy()
        assert np.abs(ours - np.array(theirs.compute_face_descriptor(chip))).max() < 1e-6


def test_gradient_reaches_the_chip(network: Descriptor) -> None:
    chip = torch.zeros(1, 3, CHIP_SIDE, CHIP_SIDE, requires_grad=True)
    network(chip).square().sum().backward()
    assert chip.grad is not None and float(chip.grad.abs().sum()) > 0


@pytest.mark.parametrize("content", [b"", b"hello", b"\x01\x05con_4", b"\x01\x05con_4\x01\x02\x01\x08", bytes(1000)])
def test_anything_else_is_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.dat"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="is not dlib's face recognition network"):
        read_descriptor(path)


def test_truncated_file_is_one_line_of_error(tmp_path: Path) -> None:
    path = tmp_path / "half.dat"
    path.write_bytes(model_file(WEIGHTS).read_bytes()[:1_000_000])
    with pytest.raises(MediaError, match="is not dlib's"):
        read_descriptor(path)
