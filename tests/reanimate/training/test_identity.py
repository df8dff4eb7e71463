from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reanimate.errors import MediaError
from reanimate.faces.detect import chip_quads
from reanimate.images import write_image
from reanimate.training.batches import Batches, generator_at
from reanimate.training.data import Faces, _align_one, _pack, jittered, load_faces
from reanimate.training.identity import CHIP_SIDE, Identity, _placed, cut_chips, exact_alignment, pack_identity


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, face_picture: Path) -> Faces:
    """One face at 128 px, three times."""
    found = _align_one(face_picture, 128)
    assert found is not None
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    path.write_bytes(_pack([(f"person{i}/1.jpg", *found) for i in range(3)], 128))
    return load_faces(path)


@pytest.fixture(scope="module")
def described(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity") / "identity.npz"
    *_, (done, total, data) = pack_identity(faces)
    assert data is not None and done == total == 3
    path.write_bytes(data)
    return path


@pytest.fixture
def identity(described: Path, faces: Faces) -> Identity:
    return Identity(described, faces, "cpu")


def test_photograph_is_the_person_however_it_is_cut_and_mirrored(identity: Identity, faces: Faces) -> None:
    batches = Batches(faces, 128, "cpu")
    exact = batches.cut(torch.arange(3), exact_alignment(3, "cpu"))
    assert identity.distance(exact.pictures, exact.alignment, exact.chosen).max() < 1e-3
    shaken = batches.cut(torch.arange(3).repeat(4), batches.draw(12, generator_at(0, 0, "cpu")).alignment)
    mirrored = torch.det(shaken.alignment[:, :, :2]) < 0
    assert 0 < int(mirrored.sum()) < 12
    assert identity.distance(shaken.pictures, shaken.alignment, shaken.chosen).max() < 0.02


def test_another_face_is_somebody_else(identity: Identity, face_frames: np.ndarray, tmp_path: Path) -> None:
    write_image(tmp_path / "other.png", face_frames[0])
    found = _align_one(tmp_path / "other.png", 128)
    assert found is not None
    (tmp_path / "faces.npz").write_bytes(_pack([("a/1.jpg", *found)], 128))
    other = jittered(torch.from_numpy(load_faces(tmp_path / "faces.npz").pictures), 128, None)
    assert identity.distance(other, exact_alignment(1, "cpu"), torch.tensor([0])).item() > 0.1


def test_chip_is_cut_where_dlib_cuts_it(faces: Faces) -> None:
    dlib = pytest.importorskip("dlib")
    points = np.round(faces.landmarks[:1])  # dlib takes whole pixels
    crop = Batches(faces, 128, "cpu").exact(np.array([0]))
    chips = torch.from_numpy(_placed(chip_quads(points, CHIP_SIDE), 128))
    ours = cut_chips(crop, exact_alignment(1, "cpu"), chips)[0].permute(1, 2, 0).add(1).mul(127.5).numpy()
    picture = crop[0].permute(1, 2, 0).add(1).mul(127.5).round().numpy().astype(np.uint8)
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), [dlib.point(int(x), int(y)) for x, y in points[0]])
    theirs = dlib.get_face_chip(np.ascontiguousarray(picture), shape, CHIP_SIDE, 0.25)
    inner = slice(10, -10)
    for axis in (0, 1):  # a parabola through the squared errors of chips moved by a pixel each way
        before, here, after = (
            np.square(np.roll(ours, step, axis) - theirs)[inner, inner].mean() for step in (-1, 0, 1)
        )
        pixels_off = (before - after) / (2 * (before - 2 * here + after))
        assert abs(pixels_off) < 0.2, (axis, pixels_off)


def test_gradient_reaches_the_picture(identity: Identity) -> None:
    pictures = torch.zeros(1, 3, 32, 32, requires_grad=True)
    identity.distance(pictures, exact_alignment(1, "cpu"), torch.tensor([0])).sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().sum()) > 0


def test_file_of_other_faces_is_one_line_of_error(described: Path, faces: Faces, tmp_path: Path) -> None:
    others = replace(faces, names=np.array(["x/1.jpg", "y/1.jpg", "z/1.jpg"]))
    for path in (described, tmp_path / "nowhere.npz", Path(__file__)):
        with pytest.raises(MediaError, match="remove it to make it again") as caught:
            Identity(path, others, "cpu")
        assert len(str(caught.value).splitlines()) == 1
