from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, face_points, made_up_faces

from reanimate.errors import FaceNotFound, MediaError
from reanimate.faces.align import crop, quad_from_landmarks
from reanimate.faces.detect import DlibDetector
from reanimate.images import read_image, resize, to_tensor, write_image
from reanimate.training import data
from reanimate.training.data import (
    Faces,
    identity,
    is_held_out,
    jittered,
    load_faces,
    prepare,
    sampling_weights,
    yaw_and_mouth,
)

RESOLUTION = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, face_picture: Path) -> Path:
    """Three people, one of them twice; a picture without a face, a damaged one, and a file that is none."""
    made = tmp_path_factory.mktemp("photographs")
    for name in ("alice/1.jpg", "alice/2.jpg", "bob/1.jpg"):
        (made / name).parent.mkdir(exist_ok=True)
        shutil.copy(face_picture, made / name)
    (made / "carol").mkdir()
    write_image(made / "carol" / "1.png", np.ascontiguousarray(read_image(face_picture)[:, ::-1]))
    write_image(made / "carol" / "wall.png", np.full((100, 100, 3), 90, np.uint8))
    (made / "carol" / "broken.jpg").write_bytes(face_picture.read_bytes()[:2000])
    (made / "notes.txt").write_text("not a picture")
    return made


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    """The file that `prepare` makes, and the progress it told."""
    path, progress = tmp_path_factory.mktemp("packed") / "faces.npz", []
    for done, total, made in prepare(folder, RESOLUTION):
        progress.append((done, total))
        if made is not None:
            path.write_bytes(made)
    return path, progress


@pytest.fixture(scope="module")
def faces(packed: tuple[Path, list[tuple[int, int]]]) -> Faces:
    return load_faces(packed[0])


def test_every_picture_with_a_face_is_kept_under_its_name(faces: Faces) -> None:
    assert faces.names.tolist() == ["alice/1.jpg", "alice/2.jpg", "bob/1.jpg", "carol/1.png"]
    assert faces.resolution == RESOLUTION
    assert faces.pictures.shape == (4, 36, 36, 3) and faces.pictures.dtype == np.uint8
    assert faces.landmarks.shape == (4, 68, 2)


def test_progress_counts_every_picture_and_ends_full(packed: tuple[Path, list[tuple[int, int]]]) -> None:
    assert packed[1] == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6), (6, 6)]


def test_middle_of_a_stored_crop_is_the_aligned_face(faces: Faces, face_picture: Path) -> None:
    picture = read_image(face_picture)
    (face,) = DlibDetector().detect(picture)
    aligned = crop(picture, quad_from_landmarks(face.landmarks), RESOLUTION).astype(int)
    assert np.abs(faces.pictures[0, 2:-2, 2:-2] - aligned).mean() < 8  # WebP, and the face is found at another size


def test_landmarks_are_in_px_of_the_crop_without_its_margin(faces: Faces) -> None:
    for points in faces.landmarks:
        eyes, mouth = points[36:48].mean(0), points[48:68].mean(0)
        assert np.allclose(quad_from_landmarks(points), [[0, 0], [0, 32], [32, 32], [32, 0]], atol=0.1)
        assert eyes[1] < 16 < mouth[1]


def test_mirrored_face_turns_the_other_way(faces: Faces) -> None:
    yaw, mouth = yaw_and_mouth(faces.landmarks)
    assert yaw[3] == pytest.approx(-yaw[0], abs=0.15)
    assert mouth[3] == pytest.approx(mouth[0], abs=0.15)


def test_same_picture_gives_the_same_crop(faces: Faces) -> None:
    for other in (1, 2):
        assert np.array_equal(faces.pictures[0], faces.pictures[other])
        assert np.array_equal(faces.landmarks[0], faces.landmarks[other])


def test_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MediaError, match="no pictures"):
        list(prepare(tmp_path, RESOLUTION))


def test_folder_without_faces_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "ProcessPoolExecutor", lambda workers, _: ThreadPoolExecutor(workers))  # starts at once
    write_image(tmp_path / "a.png", np.full((80, 80, 3), 90, np.uint8))
    with pytest.raises(FaceNotFound, match=tmp_path.name):
        list(prepare(tmp_path, RESOLUTION))


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04", bytes(1000)])
def test_file_that_holds_no_faces_is_one_line_of_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "faces.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        load_faces(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("entry", ["format", "resolution", "names", "blobs", "ends", "landmarks"])
@pytest.mark.parametrize("value", [None, np.array("text"), np.array([{}], object), np.zeros(5, np.uint8)], ids=str)
def test_file_with_a_wrong_entry_is_one_line_of_error(
    tmp_path: Path, packed: tuple[Path, list[tuple[int, int]]], entry: str, value: np.ndarray | None
) -> None:
    with np.load(packed[0]) as whole:
        parts = {name: whole[name] for name in whole.files}
    if value is None:
        del parts[entry]
    else:
        parts[entry] = value
    np.savez(tmp_path / "faces.npz", **parts)
    with pytest.raises(MediaError) as caught:
        load_faces(tmp_path / "faces.npz")
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_picture_in_the_file_is_an_error(tmp_path: Path, packed: tuple[Path, list[tuple[int, int]]]) -> None:
    with np.load(packed[0]) as whole:
        parts = {name: np.array(whole[name]) for name in whole.files}
    parts["blobs"][: parts["ends"][0]] = 0
    np.savez(tmp_path / "faces.npz", **parts)
    with pytest.raises(MediaError, match="damaged"):
        load_faces(tmp_path / "faces.npz")


@pytest.mark.parametrize(
    ("name", "person"), [("alice/1.jpg", "alice"), ("a/b/1.jpg", "a/b"), ("portrait.jpg", "portrait.jpg")]
)
def test_person_is_the_folder_or_the_file_itself(name: str, person: str) -> None:
    assert identity(name) == person


def test_who_is_held_out_never_changes() -> None:
    """Pinned: a model trained yesterday must be measured on people it has not seen."""
    people = ["Abel_Pacheco", "George_W_Bush", "Serena_Williams", "alice", "bob", *(f"person{i}" for i in range(40))]
    assert [p for p in people if is_held_out(p)] == [
        "bob", "person11", "person27", "person28", "person33", "person36", "person37",
    ]  # fmt: skip


def test_about_a_tenth_is_held_out() -> None:
    assert 0.09 < np.mean([is_held_out(f"somebody {i}") for i in range(5000)]) < 0.11


def test_all_pictures_of_a_person_are_held_out_together(faces: Faces) -> None:
    assert faces.held_out.tolist() == [False, False, True, False]


def test_held_out_people_are_never_drawn() -> None:
    faces = made_up_faces(60)
    weights = sampling_weights(faces)
    assert 0 < faces.held_out.sum() < 60
    assert not weights[faces.held_out].any() and (weights[~faces.held_out] > 0).all()
    assert weights.sum() == pytest.approx(1)


def test_turned_heads_and_open_mouths_are_drawn_more_often() -> None:
    faces = made_up_faces(60)
    landmarks = np.repeat(face_points((8, 8), 10)[None], 60, 0)
    landmarks[0, 30, 0] += 3  # the nose aside
    landmarks[1, 66, 1] += 2  # the lower lip down
    weights = sampling_weights(Faces(faces.pictures, landmarks, faces.names, 16), oversampling=4)
    kept = ~faces.held_out
    assert kept[0] and kept[1]
    plain = np.median(weights[kept])
    assert weights[0] == pytest.approx(4 * plain) and weights[1] == pytest.approx(4 * plain)


def test_front_view_has_no_yaw_and_a_turned_one_has() -> None:
    landmarks = np.stack([face_points()] * 3)
    landmarks[1, 30, 0] += 20
    landmarks[2, 30, 0] -= 20
    yaw, _ = yaw_and_mouth(landmarks)
    assert yaw[0] == pytest.approx(0, abs=1e-5)
    assert yaw[1] == pytest.approx(-yaw[2], abs=1e-5) and yaw[1] > 0.1


def stored(count: int = 4, side: int = 18) -> torch.Tensor:
    """Smooth coloured pictures."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return torch.from_numpy(np.stack([resize(picture, side, side) for picture in coarse]))


def test_without_jitter_the_crop_is_the_exact_centre() -> None:
    pictures = stored()
    assert torch.equal(jittered(pictures, 16, None), to_tensor(pictures[:, 1:17, 1:17].numpy()))


def test_without_jitter_a_larger_crop_is_averaged() -> None:
    pictures = stored(side=36)
    centre = to_tensor(pictures[:, 2:34, 2:34].numpy())
    assert torch.allclose(jittered(pictures, 16, None), torch.nn.functional.avg_pool2d(centre, 2), atol=1e-6)


def test_jittered_crops_stay_near_the_aligned_ones() -> None:
    pictures = stored(16)
    exact, shaken = jittered(pictures, 16, None), jittered(pictures, 16, torch.Generator().manual_seed(0), mirror=False)
    assert shaken.shape == exact.shape and shaken.dtype == torch.float32
    assert shaken.min() >= -1 and shaken.max() <= 1
    difference = (shaken - exact).abs().mean((1, 2, 3))
    assert (difference > 1e-3).all() and difference.max() < 0.2


def test_jitter_is_a_function_of_the_generator() -> None:
    pictures = stored()
    a, b, other = (jittered(pictures, 16, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, other)


def test_about_half_the_crops_are_mirrored() -> None:
    pictures = torch.zeros(200, 18, 18, 3, dtype=torch.uint8)
    pictures[:, :, 9:] = 255  # bright on the right
    shaken = jittered(pictures, 16, torch.Generator().manual_seed(0))
    bright_right = shaken[:, :, :, 12:].mean((1, 2, 3)) > 0
    assert 70 < int(bright_right.sum()) < 130
    unmirrored = jittered(pictures, 16, torch.Generator().manual_seed(0), mirror=False)
    assert (unmirrored[:, :, :, 12:].mean((1, 2, 3)) > 0).all()


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "faces").is_dir(), reason="../shared/faces is not beside this checkout")
def test_most_photographs_of_a_real_collection_are_kept(tmp_path: Path) -> None:
    for path in sorted((SHARED / "faces" / "lfw").rglob("*.jpg"))[:60]:
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name)
    *_, (_, _, made) = prepare(tmp_path, 64)
    assert made is not None
    (tmp_path / "faces.npz").write_bytes(made)
    assert len(load_faces(tmp_path / "faces.npz").names) >= 54
