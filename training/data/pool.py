"""Endless random pairs made by processes and passed through shared memory, in no fixed order.

    Samples -> makers: a random pair -> the slab of its kind -> `take` -> the caller's own copy

For runs of a fixed time, which never wait for a pair and reuse each a few times. They cannot be resumed, as runs
with the fixed order of `training.data.loader` can.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import shared_memory
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np

from training.data.parallel import end_with_parent
from training.data.samples import LONGEST, Pair, Samples, code_points
from training.errors import DataError
from training.stop import SIGNALS

SLAB = 64  # pairs per message: a millisecond of copying
SLABS = 4  # per process, so that none waits for the caller

Columns = Mapping[str, np.ndarray]  # of N pairs, as in `Layout`


class Kind(NamedTuple):
    """Pairs that can share a batch: placed on a canvas or stretched, Latin or not."""

    placed: bool
    latin: bool


@dataclass(frozen=True)
class Layout:
    """Memory layout of pairs, in columns: name -> (shape of one pair, dtype).

    lr (h, w, 3), hr (H, W, 3): uint8 RGB. codes: `code_points` of the text. whole, sharp: see `Pair`. box: of HR.
    """

    lr: tuple[int, int]
    scale: int

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        (height, width), scale = self.lr, self.scale
        return {
            "box": ((4,), np.dtype(np.float32)),
            "codes": ((LONGEST,), np.dtype(np.int32)),
            "whole": ((), np.dtype(np.bool_)),
            "sharp": ((), np.dtype(np.bool_)),
            "lr": ((height, width, 3), np.dtype(np.uint8)),
            "hr": ((scale * height, scale * width, 3), np.dtype(np.uint8)),
        }

    @property
    def bytes(self) -> int:
        """Size of a slab."""
        return SLAB * sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.columns.values())

    def views(self, buffer: memoryview) -> dict[str, np.ndarray]:
        """A slab's columns, each (SLAB, ...), over its memory."""
        found, at = {}, 0
        for name, (shape, dtype) in self.columns.items():
            count = SLAB * int(np.prod(shape))
            found[name] = np.frombuffer(buffer, dtype, count, at).reshape(SLAB, *shape)
            at += count * dtype.itemsize
        return found


def kind_shares(samples: Samples) -> dict[Kind, float]:
    """The kinds of training pairs, and the share of each. Stretched pairs are Latin only."""
    placed, other = samples.config.window_share, samples.other_share
    found = {}
    if placed < 1:
        found[Kind(placed=False, latin=True)] = (1 - placed) * (1 - other)
    if placed > 0:
        found[Kind(placed=True, latin=True)] = placed * (1 - other)
        if other > 0:
            found[Kind(placed=True, latin=False)] = placed * other
    return found


def layouts(samples: Samples) -> dict[Kind, Layout]:
    """Memory layout of each kind of pairs."""
    spec, config = samples.spec, samples.config
    sizes = {True: config.window, False: (spec.height, spec.width)}
    return {kind: Layout(sizes[kind.placed], spec.scale) for kind in kind_shares(samples)}


class Makers:
    """Processes that make random pairs of `samples`; the end of the `with` block kills them.

    Raises DataError when all of them have died.
    """

    def __init__(self, samples: Samples, *, workers: int, seed: int) -> None:
        self.layouts = layouts(samples)
        self.made = 0
        size = max(layout.bytes for layout in self.layouts.values())
        context = multiprocessing.get_context("spawn")
        self._free: Any = context.Queue()
        self._full: Any = context.Queue()
        self._slabs = [shared_memory.SharedMemory(create=True, size=size) for _ in range(SLABS * workers)]
        for number in range(len(self._slabs)):
            self._free.put(number)
        names = [slab.name for slab in self._slabs]
        self._processes = [
            context.Process(target=_make, args=(samples, names, self._free, self._full, [seed, n]), daemon=True)
            for n in range(workers)
        ]

    def __enter__(self) -> Makers:
        # Ctrl-C goes to every process: block it in these, as the parent saves first and then kills them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for process in self._processes:
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for messages in (self._free, self._full):
            messages.cancel_join_thread()  # else unread messages delay the end of this process
        for process in self._processes:
            process.kill()  # they hold only the slabs' memory
        for process in self._processes:
            process.join()
        for slab in self._slabs:
            slab.close()
            slab.unlink()

    def take(self, *, wait: float = 0.0) -> tuple[Kind, Columns] | None:
        """A slab of SLAB pairs, copied; None if none was ready within `wait` seconds."""
        end = time.monotonic() + wait
        while True:
            try:
                number, kind = self._full.get(timeout=min(1.0, wait)) if wait else self._full.get_nowait()
                break
            except queue.Empty:
                if not any(process.is_alive() for process in self._processes):
                    raise DataError("every process that makes pairs has died; see the error above") from None
                if time.monotonic() >= end:
                    return None
        views = self.layouts[kind].views(self._slabs[number].buf)
        columns = {name: view.copy() for name, view in views.items()}
        del views  # else the memory cannot be closed
        self._free.put(number)
        self.made += SLAB
        return kind, columns


def _make(samples: Samples, names: list[str], free: Any, full: Any, seed: list[int]) -> None:  # noqa: ANN401
    """Make pairs until this process is killed."""
    end_with_parent()
    cv2.setNumThreads(1)
    slabs = [shared_memory.SharedMemory(name) for name in names]
    rng, open_pairs = np.random.default_rng(seed), {kind: list[Pair]() for kind in layouts(samples)}
    kinds = layouts(samples)
    while True:
        number, epoch = int(rng.integers(len(samples))), int(rng.integers(2**31 - 1))
        placed = bool(rng.random() < samples.config.window_share)
        pair = samples.pair(number, epoch=epoch, placed=placed)
        if pair is None or (kind := Kind(placed, pair.latin)) not in kinds:
            continue
        open_pairs[kind].append(pair)
        if len(open_pairs[kind]) == SLAB:
            slab = free.get()
            _write(open_pairs[kind], kinds[kind].views(slabs[slab].buf))
            full.put((slab, kind))
            open_pairs[kind] = []


def _write(pairs: list[Pair], views: dict[str, np.ndarray]) -> None:
    views["codes"][:] = code_points([pair.text for pair in pairs])
    for row, pair in enumerate(pairs):
        views["box"][row], views["lr"][row], views["hr"][row] = pair.box, pair.lr, pair.hr
        views["whole"][row], views["sharp"][row] = bool(pair.label), pair.sharp
