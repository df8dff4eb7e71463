"""What stands in for the objects of numpy, torch, NVIDIA and TensorFlow that checkpoints hold."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import EasyDict, Named, official_pickle, torch_file

from reanimate.checkpoints.data import Module, Network, StoredTensor
from reanimate.checkpoints.torch_files import read_checkpoint
from reanimate.errors import ModelError

Load = Callable[[bytes], Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def read(data: bytes) -> object:
        path = tmp_path / "file.pkl"
        path.write_bytes(data)
        return read_checkpoint(path)

    return read


class Call:
    """A call that a pickle asks for, and the state that it gives the result."""

    def __init__(self, module: str, name: str, *arguments: object, state: object = None) -> None:
        self.parts = (Named(module, name), arguments, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_and_numbers_of_numpy(load: Load, protocol: int, kind: str, order: str) -> None:
    numbers = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(order + kind)
    views = [numbers, np.asfortranarray(numbers), numbers[:, ::2], numbers[0, 0, 0], numbers[0], numbers.reshape(60)]
    found = load(pickle.dumps([*views, numbers.dtype, np.array(numbers[0, 0, 0])], protocol))
    for stored, array in zip(found[:3], views[:3], strict=True):
        assert stored.shape == array.shape
        assert stored.dtype is stored.read().dtype
        assert np.array_equal(stored.read().numpy(), array)
        assert stored.read().numpy().dtype == array.dtype.newbyteorder("=")
    assert found[3] == numbers[0, 0, 0]
    assert type(found[3]) is type(numbers[0, 0, 0].item())
    assert found[6] == numbers.dtype.name
    assert found[7].shape == ()
    assert found[7].read() == numbers[0, 0, 0]


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 2**40)])
def test_empty_arrays(load: Load, shape: tuple[int, ...]) -> None:
    state = (1, shape, np.dtype("f4"), False, b"")
    data = Call("numpy.core.multiarray", "_reconstruct", Named("numpy", "ndarray"), (0,), b"b", state=state)
    if max(shape) > 3:
        with pytest.raises(ModelError, match="tensor of more than 256 MiB"):
            load(official_pickle(data))
    else:
        assert load(official_pickle(data)).read().shape == shape


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, None], object),
        np.zeros(3, [("a", "f4"), ("b", "i4")]),
        np.array(["a"]),
        np.zeros(3, "c8"),
        np.zeros(3, "M8[s]"),
        np.zeros(3, "V8"),
        np.longdouble(1),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_of_other_things_than_numbers_are_refused(load: Load, array: Any) -> None:
    with pytest.raises(ModelError, match="has an array of something other than numbers"):
        load(pickle.dumps(array, 4))


def storage(numbers: torch.Tensor) -> Call:
    """A storage as NVIDIA's pickles hold it."""
    kept = torch.storage.TypedStorage(wrap_storage=numbers.untyped_storage(), dtype=numbers.dtype, _internal=True)
    return Call("torch.storage", "_load_from_bytes", torch_file(kept, zipped=False))


KINDS = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["pickle", "legacy", "zip"])
def test_every_view_of_every_kind_of_torch_tensor(load: Load, kind: str, form: str) -> None:
    torch.manual_seed(0)
    base = (torch.rand(4, 6) * 100).to(getattr(torch, kind))
    tensors = [base, base.T, base[1:, ::2], base[2, 3], base[:, 1:1], base[0].expand(2, 6)[:, :2], torch.empty(0)]
    tensors.append(torch.nn.Parameter(base.clone(), requires_grad=False))
    data = pickle.dumps(tensors, 4) if form == "pickle" else torch_file(tensors, zipped=form == "zip")
    for stored, tensor in zip(load(data), tensors, strict=True):
        assert isinstance(stored, StoredTensor)
        assert (stored.shape, stored.dtype) == (tuple(tensor.shape), tensor.dtype)
        assert torch.equal(stored.read(), tensor)
        assert stored.read().dtype is tensor.dtype
        assert stored.read().is_contiguous()


def test_every_reading_is_fresh(load: Load) -> None:
    (stored,) = load(torch_file([torch.ones(3)], zipped=True))
    stored.read().zero_()
    assert torch.equal(stored.read(), torch.ones(3))


def test_booleans_are_true_whatever_bits_they_have(load: Load) -> None:
    data = torch_file([torch.tensor([True, False, True, True])], zipped=False)
    assert data.endswith(b"\1\0\1\1")
    (stored,) = load(data[:-4] + b"\2\0\xff\1")
    assert stored.read().tolist() == [True, False, True, True]
    assert stored.read().sum() == 3


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 3), (4, 1)),
        (7, (), ()),
        (7, (0,), (1,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 3), (1,)),
        (0, (1,) * 9, (1,) * 9),
        (0, (2**40,), (0,)),
        (0, (7,), (0,)),
        (0, (2**31, 2**31), (0, 0)),
        (0, (2**62,), (1,)),
        (0, (2**70,), (1,)),
        (2**62, (1,), (1,)),
        (0, (2,), (2**62,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, ("2",), (1,)),
        (0, (2**100,) * 10_000, (0,) * 10_000),
    ],
)
def test_tensor_outside_its_storage_is_refused(load: Load, offset: Any, shape: Any, strides: Any) -> None:
    tensor = Call("torch._utils", "_rebuild_tensor_v2", storage(torch.zeros(6)), offset, shape, strides, False, {})
    with pytest.raises(ModelError, match=r"impossible shape|within its storage"):
        load(official_pickle(tensor))


def test_tensors_may_not_add_up_to_many_times_the_file(load: Load) -> None:
    shared = storage(torch.zeros(1 << 20))
    tensors = [Call("torch._utils", "_rebuild_tensor_v2", shared, 0, (1 << 20,), (1,)) for _ in range(20)]
    assert len(load(official_pickle(tensors[:2]))) == 2
    with pytest.raises(ModelError, match="more than twice as large as the file"):
        load(official_pickle(tensors))


ND = Named("numpy", "ndarray")
FLOAT = Call("numpy", "dtype", "f4", False, True, state=(3, "<", None, None, None, -1, -1, 0))
ZEROS = Call("torch._utils", "_rebuild_tensor_v2", storage(torch.zeros(6)), 0, (6,), (1,))


def array(*state: object) -> Call:
    return Call("numpy.core.multiarray", "_reconstruct", ND, (0,), b"b", state=state)


@pytest.mark.parametrize(
    "value",
    [
        array(1, (3,), FLOAT, False, bytes(11)),
        array(1, (3,), FLOAT, False, bytes(16)),
        array(1, (2**62,), FLOAT, False, bytes(16)),
        array(1, (-1,), FLOAT, False, bytes(4)),
        array(1, (2**100,) * 10_000, FLOAT, False, bytes(4)),
        array(1, (3,), FLOAT, False, [1, 2, 3]),
        array(1, (3,), FLOAT, False, "abc"),
        array(1, [3], FLOAT, False, bytes(12)),
        array(1, (3,), ND, False, bytes(12)),
        array(1, (3,), FLOAT, 0, bytes(12)),
        array(FLOAT),
        array(),
        Call("numpy.core.multiarray", "_reconstruct", ND, (0,), b"b"),
        Call("numpy.core.multiarray", "_reconstruct", Named("collections", "OrderedDict"), (0,), b"b"),
        Call("numpy.core.multiarray", "_reconstruct"),
        Call("numpy.core.multiarray", "scalar", FLOAT, bytes(3)),
        Call("numpy.core.multiarray", "scalar", FLOAT, bytes(400)),
        Call("numpy.core.multiarray", "scalar", FLOAT),
        Call("numpy.core.numeric", "_frombuffer", bytes(12), FLOAT, (4,), "C"),
        Call("numpy.core.numeric", "_frombuffer", bytes(12), FLOAT, (3,), "K"),
        Call("numpy", "dtype", "O8", False, True),
        Call("numpy", "dtype", []),
        Call("numpy", "dtype", "f4", state=(3, "!", None, None, None, -1, -1, 0)),
        Call("numpy", "dtype", "f4", state=(3, "<", (FLOAT, (3,)), None, None, -1, -1, 0)),
        Call("numpy", "dtype", "f4", state={}),
        Call("torch._utils", "_rebuild_tensor_v2", bytes(12), 0, (3,), (1,)),
        Call("torch._utils", "_rebuild_tensor_v2", Named("torch", "FloatStorage"), 0, (3,), (1,)),
        Call("torch._utils", "_rebuild_tensor_v2"),
        Call("torch._utils", "_rebuild_parameter", [1], False, {}),
        Call("torch.storage", "_load_from_bytes", bytes(10)),
        Call("torch.storage", "_load_from_bytes", bytes(1000)),
        Call("torch.storage", "_load_from_bytes", "text"),
        Call("torch.storage", "_load_from_bytes", official_pickle(list(range(1000)))),
        storage(torch.zeros(6)),
        Call("torch", "Size", [1]),
        Call("torch", "device", 1),
        Call("collections", "OrderedDict", [["a", 1]]),
        Call("builtins", "set", [[]]),
        Call("builtins", "set", "abc"),
        Call("_codecs", "encode", "a", "rot13"),
        Call("_codecs", "encode", "✓", "latin1"),
        Call("torch_utils.persistence", "_reconstruct_persistent_obj", {"type": "class", "class_name": "G"}),
        Call("torch_utils.persistence", "_reconstruct_persistent_obj", {"type": "x", "class_name": "G", "state": {}}),
        Call("torch_utils.persistence", "_reconstruct_persistent_obj", {"type": "class", "class_name": 1, "state": {}}),
        Call("torch_utils.persistence", "_reconstruct_persistent_obj"),
        Module("G", {1: 2}),  # type: ignore[dict-item]
        Network([1]),  # type: ignore[arg-type]
        Network({2: 1}),  # type: ignore[dict-item]
        Call("argparse", "Namespace", state=(None, {"a": 1})),
    ],
)
def test_odd_arguments_are_one_line(load: Load, value: object) -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*file\.pkl: [a-z][^\n]{10,120}$"):
        load(official_pickle(value))


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))  # NVIDIA's are of 3 and 4
def test_module_of_nvidia_is_its_attributes(load: Load, protocol: int) -> None:
    weight = torch.nn.Parameter(torch.arange(4.0))
    state = {"_parameters": {"weight": weight}, "gain": np.float64(0.5), "options": EasyDict({"a": 1})}
    found = load(official_pickle(Module("Generator", state), protocol, source="import os; os.abort()"))
    assert isinstance(found, Module)
    assert found.class_name == "Generator"
    assert torch.equal(found.state["_parameters"]["weight"].read(), weight)  # type: ignore[index]
    assert found.state["gain"] == 0.5
    assert type(found.state["gain"]) is float
    assert found.state["options"] == {"a": 1}


@pytest.mark.parametrize("place", ["dnnlib.tflib.network", "tfutil", "network", "my.fork.tfutil"])
def test_network_of_tensorflow_is_what_it_wrote(load: Load, place: str) -> None:
    found = load(official_pickle((Network({"a": 1, "inside": Network({})}),), network=place))[0]
    assert isinstance(found, Network)
    assert found.state["a"] == 1
    assert isinstance(found.state["inside"], Network)


def test_small_objects_come_as_plain_data(load: Load) -> None:
    value = {
        "args": argparse.Namespace(size=64, path="x"),
        "size": torch.Size([1, 2]),
        "devices": [torch.device("cpu"), torch.device("cuda", 1)],
    }
    assert load(pickle.dumps(value, 2)) == {
        "args": {"size": 64, "path": "x"},
        "size": (1, 2),
        "devices": ["cpu", "cuda:1"],
    }
