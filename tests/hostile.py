"""Files that want to run something or to take everything, and files that are damaged."""

from __future__ import annotations

import io
import os
import pickletools
import random
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint_files import FORMS, mescheder, official_pickle, pggan, stylegan2, torch_file

from reanimate.checkpoints.data import Module, Network

Case = tuple[bytes | Callable[[Path], object], str]
"""What a file holds or what makes it, and a part of the line with which it is refused."""

# functions that run commands, texts or other pickles, and classes of which some method does
RUNNERS = """
    os system|posix system|nt system|os popen|os execv|os putenv|builtins eval|builtins exec|builtins compile
    builtins open|builtins getattr|builtins __import__|__builtin__ eval|__builtin__ execfile|subprocess Popen
    subprocess check_output|commands getoutput|importlib import_module|importlib.util spec_from_file_location
    runpy run_path|runpy _run_code|pty spawn|code InteractiveInterpreter|timeit timeit|webbrowser open|shutil rmtree
    pathlib Path.unlink|operator attrgetter|functools partial|types FunctionType|types CodeType|marshal loads
    pickle loads|_pickle Unpickler|copyreg _reconstructor|copyreg add_extension|ctypes CDLL|socket create_connection
    urllib.request urlopen|sys modules|numpy load|numpy memmap|numpy.testing._private.utils runstring|torch load
    torch.hub load|torch.jit load|torch.serialization _open_file|torch._utils _rebuild_qtensor
    torch.nn.modules.container Sequential|torch.storage UntypedStorage.from_file|dnnlib.util call_func_by_name
    torch_utils.persistence _src_to_module|dnnlib.tflib.network Network.run|argparse _os.system
    collections OrderedDict.__init__.__globals__
"""


def corpus(command: str) -> dict[str, Case]:
    """All of them by name; the hostile ones want to run a shell command."""
    groups = [runners(command), parts(command), bombs(), claims(), archives(), networks(), others(), cuts()]
    found = [pair for group in groups for pair in group]
    assert len(dict(found)) == len(found)
    return dict(found)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def pickled(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def call(place: str, *arguments: bytes) -> bytes:
    module, name = place.split()
    return text(module) + text(name) + b"\x93(" + b"".join(arguments) + b"tR"


def blob(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def zipped(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return out.getvalue()


def runners(command: str) -> Iterator[tuple[str, Case]]:
    shell = text(command)
    for place in RUNNERS.replace("\n", "|").split("|"):
        if place.strip():
            yield place.strip(), (pickled(call(place, shell)), f"asks for {'.'.join(place.split())}, which no")
    yield "protocol 0", (b"cos\nsystem\n(S'" + command.encode() + b"'\ntR.", "is neither a pickle nor")
    yield "protocol 2", (pickled(b"cos\nsystem\n" + shell + b"\x85R", 2), "asks for os.system")
    chain = call("builtins getattr", call("builtins __import__", text("os")), text("system"))
    yield "chain of getattr", (pickled(chain + shell + b"\x85R"), "asks for builtins.getattr")
    yield "NEWOBJ", (pickled(b"csubprocess\nPopen\n" + shell + b"\x85\x81"), "asks for subprocess.Popen")
    yield "INST", (pickled(b"(" + shell + b"ios\nsystem\n"), "opcode INST")
    yield "OBJ", (pickled(b"(cdnnlib.util\nEasyDict\n" + shell + b"o"), "opcode OBJ")
    yield "NEWOBJ_EX", (pickled(b"cdnnlib.util\nEasyDict\n)}\x92"), "opcode NEWOBJ_EX")
    yield "EXT1", (pickled(b"\x82\1"), "opcode EXT1")
    yield "EXT4", (pickled(b"\x84\1\0\0\0"), "opcode EXT4")
    yield "PERSID", (pickled(b"Pos.system\n"), "opcode PERSID")
    yield "BINPERSID", (pickled(shell + b"Q"), "where none can be")
    state = b"}" + text("__setstate__") + shell + b"s" + text("__reduce_ex__") + shell + b"s"
    yield "BUILD of a class", (pickled(b"cnumpy\nndarray\n" + state + b"b"), "sets the state of what has none")
    yield "BUILD of a list", (pickled(b"]" + state + b"b"), "sets the state of what has none")
    yield "BUILD of a dictionary", (pickled(b"ccollections\nOrderedDict\n)R" + state + b"b"), "holds no generator")
    yield "BUILD of a dtype", (pickled(call("numpy dtype", text("f4")) + state + b"b"), "other than numbers")
    yield "BUILD of a namespace", (pickled(b"cargparse\nNamespace\n)\x81" + state + b"b"), "holds no generator")
    yield "call of a text", (pickled(shell + b")R"), "wants to call what is no function")
    yield "call of a class", (pickled(b"ctorch\nFloatStorage\n)R"), "wants to call torch.FloatStorage")
    yield "name with escapes", (pickled(text("os\x1b]0;\n") + text("x" * 99_999) + b"\x93"), "os\\x1b]0;\\n.xxx")


def parts(command: str) -> Iterator[tuple[str, Case]]:
    """A hostile pickle in each place of the forms that hold more than one."""
    evil = pickled(call("os system", text(command)), 2)
    good = torch_file(mescheder(), zipped=False)
    stream, ends = io.BytesIO(good), [0]
    for _ in range(5):
        list(pickletools.genops(stream))
        ends.append(stream.tell())
    pieces = [good[begin:end] for begin, end in zip(ends, [*ends[1:], None], strict=True)]
    for i, name in enumerate(("magic number", "protocol", "system", "data", "names")):
        whole = b"".join([*pieces[:i], evil, *pieces[i + 1 :]])
        yield f"legacy {name}", (whole, "asks for os.system")
        yield f"nested {name}", (pickled(call("torch.storage _load_from_bytes", blob(whole))), "asks for os.system")
    twice = b"".join([*pieces[:3], pickled(call("torch.storage _load_from_bytes", blob(good))), *pieces[4:]])
    twice = pickled(call("torch.storage _load_from_bytes", blob(twice)))
    yield "nested twice", (twice, "asks for torch.storage._load_from_bytes")
    yield "zip data", (zipped({"archive/data.pkl": evil}), "asks for os.system")
    source = f"import os\nos.system({command!r})"
    yield "source of a module", (official_pickle({"G_ema": Module("Generator", {})}, source=source), "")
    yield "source of a network", (official_pickle((Network({"version": 4, "build_module_src": source}),)), "")
    other = official_pickle({"G_ema": Module("Generator", {})}, source=source).replace(b"class\x94", b"klass\x94", 1)
    yield "module of another type", (other, "as NVIDIA's code does")


def doubled(levels: int, first: bytes = b"]") -> bytes:
    """A tuple of two times the same tuple of two times the same …"""
    return first + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(levels))


def bombs() -> Iterator[tuple[str, Case]]:
    yield "memo at its end", (pickled(b"Nr\xff\xff\xff\x7f"), "holds no generator")
    yield "memo with gaps", (pickled(b"".join(b"Nr" + struct.pack("<I", i << 16) for i in range(60_000))), "holds no")
    yield "marks", (pickled(b"(" * 10_000_000), "pickle opcodes")
    yield "lists in lists", (pickled(b"]" * 60_000 + b"a" * 59_999), "nests its contents")
    yield "tuples in tuples", (pickled(b")" + b"\x85" * 120_000), "nests its contents")
    yield "dictionaries in dictionaries", (pickled(b"}K\0" * 40_000 + b"}" + b"s" * 40_000), "nests its contents")
    yield "doubled tuples", (pickled(doubled(60)), "values, which no")
    yield "doubled tuple keys", (pickled(doubled(60, b")") + b"}h\x3bNs"), "other than texts and integers")
    yield "doubled tuples in a set", (pickled(doubled(60, b")") + b"\x8f(h\x3b\x90"), "other than texts and integers")
    laughs = b"](" + text("ha" * 500) + b"q\0" + b"h\0" * 999 + b"eq\1" + b"](" + b"h\1" * 1000 + b"e"
    yield "laughs", (pickled(laughs), "values, which no")
    yield "list of itself", (pickled(b"]\x94h\0a"), "contains itself")
    yield "dictionary of itself", (pickled(b"}\x94" + text("G_ema") + b"h\0s"), "contains itself")
    keys = b"".join(b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(50_000))
    yield "keys of one hash", (pickled(b"}(" + keys + b"u"), "other than texts and integers")
    yield "many dictionaries", (pickled(b"(" + b"}" * 120_000 + b"t"), "holds no generator")
    yield "long text", (pickled(text("x" * (17 << 20))), "MiB of text")
    yield "text often", (pickled(b"(" + text("x" * (1 << 20)) + b"q\0" + b"h\0" * 50_000 + b"t"), "values, which no")
    zeros = (2**64 - 1).to_bytes(16, "little")
    yield "long shape", (pickled(tensor(b"(" + (b"\x8a\x10" + zeros) * 50_000 + b"t", b")")), "impossible shape")


def tensor(shape: bytes, strides: bytes, offset: bytes = b"K\0") -> bytes:
    """A tensor in a storage of six numbers."""
    stored = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(6).untyped_storage(), dtype=torch.float32, _internal=True
    )
    storage = call("torch.storage _load_from_bytes", blob(torch_file(stored, zipped=False)))
    return call("torch._utils _rebuild_tensor_v2", storage, offset, shape, strides, b"\x89", b"}")


def array(kind: bytes, shape: bytes, data: bytes) -> bytes:
    made = call("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n", b"K\0\x85", b"C\1b")
    return made + b"(K\1" + shape + kind + b"\x89" + data + b"tb"


def claims() -> Iterator[tuple[str, Case]]:
    """Sizes that are not so."""
    huge, float32 = b"\x8a\x08" + struct.pack("<q", 2**60), call("numpy dtype", text("f4"))
    for name, code in (("BINBYTES8", b"\x8e"), ("BYTEARRAY8", b"\x96")):
        yield name, (pickled(code + struct.pack("<Q", 2**62)), "cut off or damaged: it claims 4611686018427387904")
    yield "BINUNICODE8", (pickled(b"\x8d" + struct.pack("<Q", 2**62)), "MiB of text")
    yield "BINBYTES", (pickled(b"B\xff\xff\xff\xff"), "cut off or damaged: it claims 4294967295")
    yield "LONG4", (pickled(b"\x8b\xff\xff\xff\x7f"), "an integer of 2147483647 bytes")
    yield "LONG1", (pickled(b"\x8a\xff" + bytes(255)), "an integer of 255 bytes")
    yield "FRAME", (pickled(b"\x95" + b"\xff" * 8 + b"N"), "holds no generator")
    yield "numel", (pickled(tensor(huge + b"\x85", b"K\1\x85")), "within its storage")
    yield "numel, expanded", (pickled(tensor(huge + b"\x85", b"K\0\x85")), "within its storage")
    yield "negative stride", (pickled(tensor(b"K\2\x85", b"J\xff\xff\xff\xff\x85")), "impossible shape")
    yield "negative offset", (pickled(tensor(b"K\2\x85", b"K\1\x85", b"J\xff\xff\xff\xff")), "impossible shape")
    yield "negative size", (pickled(tensor(b"J\xff\xff\xff\xff\x85", b"K\1\x85")), "impossible shape")
    yield "array of objects", (pickled(array(call("numpy dtype", text("O8")), b")", b"]")), "other than numbers")
    yield "array of nothing", (pickled(array(float32, b"(" + huge * 3 + b"t", b"C\0")), "do not fill its shape")
    yield "array without end", (pickled(array(float32, b"K\3\x85", b"C\5hello")), "do not fill its shape")
    identity = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + huge + b"tQ"
    stored = call("torch._utils _rebuild_tensor_v2", identity, b"K\0", huge + b"\x85", b"K\0\x85", b"\x89", b"}")
    yield "storage in a zip", (zipped({"a/data.pkl": pickled(stored), "a/data/0": bytes(24)}), "more than 256 MiB")
    stored = stored.replace(huge + b"\x85K\0", b"K\1\x85K\0")
    yield "storage, small view", (zipped({"a/data.pkl": pickled(stored), "a/data/0": bytes(24)}), "another size")
    yield "sparse file", (sparse, "MiB of weights")


def sparse(path: Path) -> None:
    """A file of 4 GiB, most of which is a hole: a generator with twenty more weights of 200 MiB."""
    state = {name: tuple(tensor.shape) for name, tensor in mescheder()["generator_test"].items()}
    state |= {f"module.more.{i}": (50 << 20,) for i in range(20)}
    body, names, sizes = b"", b"]", []
    for i, (name, shape) in enumerate(state.items()):
        sizes.append(prod(shape))
        integers = [b"J" + struct.pack("<i", n) for n in (sizes[-1], *shape, *strides(shape))]
        identity = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(i)) + text("cpu") + integers[0] + b"NtQ"
        )
        view = [b"(" + b"".join(part) + b"t" for part in (integers[1 : len(shape) + 1], integers[len(shape) + 1 :])]
        body += text(name) + call("torch._utils _rebuild_tensor_v2", identity, b"K\0", *view, b"\x89", b"}")
        names += text(str(i)) + b"a"
    good = torch_file(None, zipped=False)
    stream = io.BytesIO(good)
    for _ in range(3):
        list(pickletools.genops(stream))
    with path.open("wb") as file:
        file.write(
            good[: stream.tell()] + pickled(b"}" + text("generator_test") + b"}(" + body + b"us") + pickled(names)
        )
        for numel in sizes:
            file.write(struct.pack("<q", numel))
            file.seek(4 * numel, os.SEEK_CUR)
        file.truncate()


def strides(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def archives() -> Iterator[tuple[str, Case]]:
    good = torch_file(mescheder(), zipped=True)
    bomb = {"archive/data.pkl": bytes(64 << 20)}
    yield "zip bomb", (zipped(bomb, zipfile.ZIP_DEFLATED), "is a compressed zip file")
    contents = {f"archive/data/{i}": b"" for i in range(20_000)}
    yield "zip of many", (zipped({"archive/data.pkl": pickled(b"N"), **contents}), "a directory of")
    yield "zip with a link", (entry(good, "archive/data/x", (stat.S_IFLNK | 0o777) << 16), "with a link")
    yield "zip with a path", (entry(good, "archive/../../x"), "with archive/../../x in it")
    yield "zip with a root", (entry(good, "/x"), "with /x in it")
    yield "zip with two roots", (entry(good, "other/data.pkl"), "not one of torch.save")
    at = good.index(b"PK\1\2") + 8
    yield "zip with a lock", (good[:at] + b"\1\0" + good[at + 2 :], "is an encrypted zip file")
    doubles = entry(good, "archive/data.pkX").replace(b"data.pkX", b"data.pkl")
    yield "zip with doubles", (doubles, "a name occurs twice")
    yield "zip of documents", (zipped({"word/document.xml": b"<a/>"}), "not one of torch.save")
    yield "zip of nothing", (zipped({}), "not one of torch.save")
    yield "zip without an end", (good[:-22], "cut off or damaged")


def entry(archive: bytes, name: str, attributes: int = 0) -> bytes:
    """The archive with one more file."""
    out = io.BytesIO(archive)
    with zipfile.ZipFile(out, "a") as opened:
        info = zipfile.ZipInfo(name)
        info.external_attr = attributes
        opened.writestr(info, b"/etc/passwd")
    return out.getvalue()


def networks() -> Iterator[tuple[str, Case]]:
    """Files that can be read, with a network that cannot be used."""

    def of_mescheder(change: Callable[[dict[str, Any]], object]) -> bytes:
        data = mescheder()
        change(data["generator_test"])
        return torch_file(data, zipped=True)

    def of_stylegan2(change: Callable[[dict[str, Any]], object]) -> bytes:
        data = stylegan2()
        change(data["G_ema"].state["_modules"]["synthesis"].state["_modules"]["b8"].state)
        return official_pickle(data)

    def of_pggan(change: Callable[[dict[str, Any]], object]) -> bytes:
        network = pggan()
        variables = dict(network.state["variables"])  # type: ignore[call-overload]
        change(variables)
        return official_pickle((Network({**network.state, "variables": list(variables.items())}),), network="tfutil")

    nan = torch.full((3, 4, 3, 3), torch.nan)
    shapes = {"another": torch.zeros(7, 5), "no": torch.zeros(()), "an empty": torch.zeros(0, 9)}
    for kind, odd in shapes.items():
        yield f"mescheder, {kind} shape", (of_mescheder(lambda t, odd=odd: t.update({"module.fc.weight": odd})), "")
        yield (
            f"stylegan2, {kind} shape",
            (of_stylegan2(lambda s, odd=odd: s["_buffers"].update(resample_filter=odd, const=odd)), ""),
        )
        yield f"pggan, {kind} shape", (of_pggan(lambda v, odd=odd: v.update({"8x8/Conv1/weight": odd.numpy()})), "")
    yield "mescheder, NaN", (of_mescheder(lambda t: t.update({"module.conv_img.weight": nan})), "")
    yield "pggan, NaN", (of_pggan(lambda v: v.update({"4x4/Conv/bias": np.full(4, np.inf, "f4")})), "")
    yield "stylegan2, no attributes", (of_stylegan2(lambda s: s.clear()), "")
    yield "stylegan2, no block", (of_stylegan2(lambda s: s.pop("_modules")), "")
    yield "stylegan2, text", (of_stylegan2(lambda s: s.update(_parameters="text", _modules=[1])), "")
    yield "pggan, text", (of_pggan(lambda v: v.update({"4x4/Dense/weight": "text"})), "")
    yield "mescheder, half", (of_mescheder(lambda t: [t.pop(name) for name in list(t)[::2]]), "")
    yield "discriminator alone", (official_pickle({"D": Module("Discriminator", {})}), "discriminator")
    yield "plain weights", (torch_file({"a": torch.zeros(3)}, zipped=True), "holds no generator")


def others() -> Iterator[tuple[str, Case]]:
    yield "empty", (b"", "is empty")
    yield "text", (b"hello\n" * 1000, "is neither a pickle nor")
    yield "web page", (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "is a web page")
    yield "pointer", (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer")
    yield "picture", (b"\x89PNG\r\n\x1a\n" + bytes(1000), "is neither a pickle nor")
    yield "compressed", (b"\x1f\x8b\x08" + bytes(1000), "is neither a pickle nor")
    yield "noise", (random.Random(0).randbytes(100_000), "is neither a pickle nor")
    yield "noise that begins well", (b"\x80\4" + random.Random(0).randbytes(100_000), "")
    yield "noise that begins as a zip", (b"PK\3\4" + random.Random(0).randbytes(100_000), "cut off or damaged")
    yield "later protocol", (pickled(b"N", 9), "protocol 9")
    yield "text that is none", (pickled(b"X\2\0\0\0\xff\xfe"), "not UTF-8")
    yield "folder", (Path.mkdir, "is a folder")
    yield "pipe", (os.mkfifo, "is no file")
    yield "missing", (lambda path: None, "no such file")
    yield "link to itself", (lambda path: path.symlink_to(path), "cannot be read")


def cuts() -> Iterator[tuple[str, Case]]:
    """Every container, cut off at every tenth."""
    torch.manual_seed(0)
    for name, make in FORMS.items():
        data = make()
        for tenth in range(1, 10):
            yield f"{name} cut at {tenth}", (data[: len(data) * tenth // 10], "")
