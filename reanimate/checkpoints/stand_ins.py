"""What a checkpoint may name, and the plain data that stands in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import torch

from reanimate.checkpoints.data import Module, StoredTensor
from reanimate.checkpoints.pickles import Global, Unfinished, keys, plain
from reanimate.checkpoints.stored import Source, Span, Storage, counts, view

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMBERS = {
    "b1": torch.bool,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "u2": torch.uint16,
    "u4": torch.uint32,
    "u8": torch.uint64,
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
}
_NETWORK_MODULES = ("network", "tfutil")  # the last part of the module that the class of a TensorFlow network lives in
_NO_NUMBERS = "has an array of something other than numbers, which no checkpoint needs"

Make = Callable[[tuple[object, ...]], object]


@dataclass(slots=True, eq=False)
class NumberType(Unfinished):
    """A dtype of numpy."""

    dtype: torch.dtype
    swapped: bool = False
    """Whether the numbers begin with their highest byte."""

    def build(self, state: object) -> None:
        """Take in the order of bytes."""
        match state:
            case (int(), "<" | "=" | "|" | ">" as order, None, None, None, *_):
                self.swapped = order == ">"
            case _:
                raise ValueError(_NO_NUMBERS)


@dataclass(slots=True, eq=False)
class Array(Unfinished):
    """An array of numpy."""

    source: Source
    tensor: StoredTensor | None = None

    def build(self, state: object) -> None:
        """Take in shape, type, order and numbers."""
        match state:
            case (int(), tuple(shape), NumberType() as kind, bool(fortran), data):
                self.tensor = _array(self.source, data, kind, shape, fortran)
            case _:
                raise ValueError("has an array that is not described as numpy does")


@dataclass(slots=True, eq=False)
class Attributes(Unfinished):
    """An object of which only the attributes matter."""

    is_network: bool
    state: dict[object, object] = field(default_factory=dict)

    def build(self, state: object) -> None:
        """Take in the attributes."""
        if not isinstance(state, dict):
            raise ValueError("has an object without attributes, which no checkpoint needs")
        self.state = state


def finder(source: Source, more: Mapping[tuple[str, str], Make]) -> Callable[[str, str], Global]:
    """A look-up of (module, name) in the list of what checkpoints name, and in `more`."""
    ndarray = Global("numpy.ndarray")
    known = {("numpy", "ndarray"): ndarray}
    known |= {("torch", name): Global(f"torch.{name}", dtype=dtype) for name, dtype in _STORAGES.items()}
    known |= {place: Global(".".join(place), make) for place, make in (_makers(source, ndarray) | dict(more)).items()}
    network = Global("Network", lambda _: Attributes(is_network=True))

    def find(module: str, name: str) -> Global:
        if name == "Network" and module.split(".")[-1] in _NETWORK_MODULES:
            return network
        if (module, name) not in known:
            raise ValueError(f"asks for {plain(f'{module}.{name}')}, which no checkpoint needs; nothing was run")
        return known[module, name]

    return find


def _makers(source: Source, ndarray: Global) -> dict[tuple[str, str], Make]:
    def tensor(arguments: tuple[object, ...]) -> object:
        match arguments:
            case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
                return view(source, storage, offset, shape, strides)
        raise ValueError("has a tensor that is not described as torch does")

    def reconstructed(arguments: tuple[object, ...]) -> object:
        match arguments:
            case (kind, *_) if kind is ndarray:
                return Array(source)
        raise ValueError(_NO_NUMBERS)

    def buffer(arguments: tuple[object, ...]) -> object:
        match arguments:
            case (data, NumberType() as kind, tuple(shape), "C" | "F" as order):
                return _array(source, data, kind, shape, order == "F")
        raise ValueError("has an array that is not described as numpy does")

    makers: dict[tuple[str, str], Make] = {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
        ("dnnlib.util", "EasyDict"): _empty,
        ("collections", "OrderedDict"): _empty,
        ("argparse", "Namespace"): lambda _: Attributes(is_network=False),
        ("_codecs", "encode"): _encoded,
        ("numpy", "dtype"): _number_type,
    }
    for core in ("numpy.core", "numpy._core"):
        makers[f"{core}.multiarray", "_reconstruct"] = reconstructed
        makers[f"{core}.multiarray", "scalar"] = _scalar
        makers[f"{core}.numeric", "_frombuffer"] = buffer
    for builtins in ("builtins", "__builtin__"):
        makers[builtins, "set"] = lambda arguments: set(keys(_values(arguments)))
        makers[builtins, "frozenset"] = lambda arguments: frozenset(keys(_values(arguments)))
    return makers


def _module(arguments: tuple[object, ...]) -> object:
    match arguments:
        case ({"type": "class", "class_name": str(name), "state": dict(state)},):
            return Module(name, state)
    raise ValueError("has a module that is not described as NVIDIA's code does")


def _parameter(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (StoredTensor() as tensor, *_):
            return tensor
    raise ValueError("has a parameter that is no tensor")


def _empty(arguments: tuple[object, ...]) -> object:
    if arguments:
        raise ValueError("has a dictionary that is not described as Python 3 does")
    return {}


def _values(arguments: tuple[object, ...]) -> list[object]:
    match arguments:
        case (list(values),):
            return values
    raise ValueError("has a set that is not described as Python does")


def _size(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (tuple(sizes),):
            return sizes
    raise ValueError("has a shape that is not described as torch does")


def _device(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (str(kind),):
            return kind
        case (str(kind), int(index)):
            return f"{kind}:{index}"
    raise ValueError("has a device that is not described as torch does")


def _encoded(arguments: tuple[object, ...]) -> object:
    """Byte strings, as Python 3 writes them for Python 2 to read."""
    match arguments:
        case (str(text), "latin1"):
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                pass
    raise ValueError("has a byte string that is not described as Python does")


def _number_type(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (str(code), *_) if code in _NUMBERS:
            return NumberType(_NUMBERS[code])
    raise ValueError(_NO_NUMBERS)


def _scalar(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (NumberType(dtype, swapped), bytes(data)) if len(data) == dtype.itemsize:
            raw = bytearray(data[::-1] if swapped else data)
            number = torch.frombuffer(raw, dtype=torch.uint8)
            return (number != 0 if dtype is torch.bool else number.view(dtype)).item()
    raise ValueError("has a number that is not described as numpy does")


def _array(source: Source, data: object, kind: NumberType, shape: tuple[object, ...], fortran: bool) -> StoredTensor:
    if isinstance(data, Span):
        length = data.length
    elif isinstance(data, bytes):
        length = len(data)
    else:
        raise ValueError(_NO_NUMBERS)
    sizes = counts(shape)
    strides, step = [], 1
    for size in sizes if fortran else reversed(sizes):
        strides.append(step)
        step *= max(size, 1)
    if length != prod(sizes) * kind.dtype.itemsize:
        raise ValueError("has an array whose bytes do not fill its shape; the file is damaged")
    storage = Storage(kind.dtype, prod(sizes), data)
    return view(source, storage, 0, sizes, tuple(strides if fortran else reversed(strides)), swapped=kind.swapped)
