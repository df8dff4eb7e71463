"""What one pass of an inversion costs: codes to pictures, the loss, and the way back to the codes.

This project's synthesis and the published one (`pass_reference`) are timed in turn, so that whatever else the machine
does falls on both.
"""

from __future__ import annotations

import re
import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pipeline.commands.pass_reference import Reference
from reanimate.errors import ConfigError
from reanimate.generators.stylegan2 import StyleGAN2, StyleGAN2Config, usual_channels
from reanimate.inversion.losses import Loss
from reanimate.inversion.precision import working

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
Row = dict[str, str | int | float]
WARM_UPS = 2  # passes that choose algorithms and fill caches
_SIZE = re.compile(r"(\d{1,4}):(\d{1,6})/(\d{1,5})")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A generator to measure with the loss its model has by default."""

    name: str
    generator: StyleGAN2
    loss: Loss


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes that operations read and wrote while this was active, and the most that new tensors held at once.

    What an operation needs inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved = self.held = self.peak = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See TorchDispatchMode."""
        made = func(*args, **(kwargs or {}))
        if func.is_view:
            return made
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        given = [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.moved += sum(tensor.numel() * tensor.element_size() for tensor in (*taken, *given))
        old = {tensor.untyped_storage()._cdata for tensor in taken}
        for tensor in given:
            storage = tensor.untyped_storage()
            if storage._cdata not in old and storage._cdata not in self._storages:
                self._hold(storage)
        return made

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def let_go(_: object) -> None:
            self.held -= size
            del self._storages[key]

        self._storages[key] = weakref.ref(storage, let_go)
        self.held += size
        self.peak = max(self.peak, self.held)


def random_model(text: str) -> StyleGAN2 | None:
    """A frozen generator with random weights for a size such as 128:8192/256, or None if `text` is no size.

    Raises:
        ConfigError: there is no network of that size.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    resolution, base, most = (int(number) for number in found.groups())
    channels = usual_channels(resolution, base, most)
    try:
        config = StyleGAN2Config(resolution, channels, mapping_layers=1)
    except ValueError as error:
        raise ConfigError("model", f"{text!r}: {error}") from error
    if not all(channels):
        raise ConfigError("model", f"{text!r} leaves the largest block without channels; give a larger base")
    torch.manual_seed(0)
    return StyleGAN2(config).eval().requires_grad_(False)


def measure(
    subject: Subject, device: str, batches: Sequence[int], precisions: Sequence[Precision], repeats: int
) -> Iterator[Row]:
    """Two rows, ours and the reference's, for every batch size and precision; precisions a device lacks are left out.

    Raises:
        ConfigError: the generator has options that the reference leaves out.
    """
    generator, reference = subject.generator.to(device), Reference(subject.generator)
    for batch, precision in product(batches, precisions):
        if precision == "tf32" and torch.device(device).type != "cuda":
            continue
        draw = torch.Generator().manual_seed(0)
        ws = torch.randn(batch, generator.num_ws, generator.w_dim, generator=draw).to(device)
        side = generator.resolution
        target = (torch.rand(batch, 3, side, side, generator=draw) * 2 - 1).to(device)
        # ours holds its kernels in bfloat16; the published way is torch's own autocast
        half: bool = precision == "bfloat16"
        mine, loss = working(generator, subject.loss, "bfloat16" if half else "float32")
        ways = {
            "ours": _Way(mine.synthesis, loss, "float32" if half else precision, device),
            "reference": _Way(reference, subject.loss, precision, device),
        }
        pictures = [way.picture(ws) for way in ways.values()]
        runs = {name: way.prepared(ws, target) for name, way in ways.items()}
        difference = float((pictures[0] - pictures[1]).abs().max())
        times = interleaved(list(runs.values()), repeats, device)
        for (way, run), taken in zip(runs.items(), times, strict=True):
            row: Row = {"model": subject.name, "device": device, "batch": batch, "precision": precision, "way": way}
            row |= _speed(taken, times[-1]) | counted(run, device)
            yield row | {"difference": float(f"{difference:.2g}")}


@contextmanager
def working_in(precision: Precision, device: str) -> Iterator[None]:
    """Convolutions and products of matrices work in `precision`, the rest in float32."""
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(torch.device(device).type, half) if half is not None else nullcontext():
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def interleaved(runs: Sequence[Callable[[], None]], repeats: int, device: str) -> list[list[float]]:
    """Seconds of every run in every repeat, one after another in each, after warming up."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(WARM_UPS + repeats):
        for run, mine in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            _wait(device)
            if repeat >= WARM_UPS:
                mine.append(time.perf_counter() - started)
    return times


def counted(run: Callable[[], None], device: str) -> Row:
    """Multiply-adds of convolutions and products of matrices, bytes of all operations, and peak memory of one run."""
    with FlopCounterMode(display=False) as flops:
        run()
    with Traffic() as traffic:
        run()
    peak = traffic.peak
    if torch.device(device).type == "cuda":  # there the allocator knows, workspaces included
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        peak = torch.cuda.max_memory_allocated(device) - before
    return {
        "peak_mib": round(peak / 2**20, 2),
        "mmac": round(flops.get_total_flops() / 2e6, 2),
        "moved_mib": round(traffic.moved / 2**20, 2),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """To make a picture and compare it, and the precision that torch is asked for meanwhile."""

    synthesis: Callable[[torch.Tensor], torch.Tensor]
    loss: Loss
    precision: Precision
    device: str

    @torch.no_grad()
    def picture(self, ws: torch.Tensor) -> torch.Tensor:
        with working_in(self.precision, self.device):
            return self.synthesis(ws)

    def prepared(self, ws: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        """A pass from codes towards a target."""
        wanted = self.loss.prepare(target)

        def run() -> None:
            codes = ws.detach().requires_grad_(True)
            with working_in(self.precision, self.device):
                self.loss(self.synthesis(codes), wanted).sum().backward()  # type: ignore[no-untyped-call]

        return run


def _speed(mine: Sequence[float], reference: Sequence[float]) -> Row:
    """Median and quartiles in milliseconds; the ratio is the median over repeats, as load comes and goes."""
    low, _, high = statistics.quantiles(mine, n=4, method="inclusive") if len(mine) > 1 else [mine[0]] * 3
    ratio = statistics.median(a / b for a, b in zip(mine, reference, strict=True))
    numbers = {"ms": statistics.median(mine) * 1e3, "ms_low": low * 1e3, "ms_high": high * 1e3}
    return {**{name: round(value, 2) for name, value in numbers.items()}, "of_reference": round(ratio, 3)}


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
