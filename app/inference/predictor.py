"""A predictor: one runtime, with a thread for each of its streams; the runtime runs on those threads alone.

    Predictor(...) -> open the runtime on a thread -> warm up every batch size of every input size, then time each
    -> run -> close

Frameworks keep state per thread, and a Paddle predictor that is shared between threads mixes up the results of its
callers. Threads of the predictor's own, one thread unless the runtime declares more streams, rule that out.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import ceil, prod
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from app.errors import InferenceFailed, StartupError
from app.inference.runtimes.base import Runtime
from app.inference.threads import DaemonThreads
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Size

T = TypeVar("T")
WARM_UP_S, MAX_TIMINGS = 0.05, 10  # for each batch size: time at least so long, and at most so often


class Predictor:
    def __init__(
        self,
        open_runtime: Callable[[], Runtime],
        *,
        spec: PixelSpec,
        batch_sizes: Sequence[int],
        input_sizes: Sequence[Size] = (),
    ) -> None:
        """Opens the runtime and warms every batch size of every input size; returns when it is ready to serve.

        batch_sizes: for tiles of the trained size. A larger tile gets those whose batch holds no more windows
        than the largest batch of the trained size. input_sizes: the other sizes of tiles.

        Raises the errors of `open_runtime`, and StartupError if a warm-up batch fails.
        """
        self.spec = spec
        self.batch_sizes = tuple(sorted(batch_sizes))
        trained = (spec.height, spec.width)
        self._sizes = {size: self._batches(size) for size in dict.fromkeys((trained, *input_sizes))}
        self._threads = DaemonThreads("predictor")
        try:
            self._runtime = self._threads.submit(open_runtime).result()
        except BaseException:
            self._threads.stop()
            raise
        self.runtime, self.device = self._runtime.name, self._runtime.device
        self.precision, self.streams = self._runtime.precision, self._runtime.streams
        self._threads.grow(self.streams)
        try:
            self._warm_up()
            self.batch_seconds: Mapping[Size, Mapping[int, float]] = {
                image: {size: self._seconds(size, image) for size in sizes} for image, sizes in self._sizes.items()
            }
            self._threads.submit(self._runtime.rest).result()
        except BaseException:
            self.close()
            raise

    def sizes(self, image: Size) -> tuple[int, ...]:
        """The warmed batch sizes of images of this size."""
        return self._sizes[image]

    def _batches(self, image: Size) -> tuple[int, ...]:
        windows = ceil(prod(image) / (self.spec.height * self.spec.width))
        return tuple(size for size in self.batch_sizes if size == 1 or size * windows <= self.batch_sizes[-1])

    async def run(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w), N one of `sizes` of (h, w) -> SR. Raises InferenceFailed."""
        return await asyncio.wrap_future(self._threads.submit(partial(self._run, lr_nchw)))

    def run_blocking(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w), any N -> SR, without an event loop.

        Runs on all streams, in batches of the size that takes least time by the timings of the warm-up.
        """
        n, seconds = len(lr_nchw), self.batch_seconds[lr_nchw.shape[2], lr_nchw.shape[3]]
        size = min(seconds, key=lambda size: ceil(ceil(n / size) / self.streams) * seconds[size])
        padded = np.pad(lr_nchw, [(0, -n % size), (0, 0), (0, 0), (0, 0)])
        batches = (padded[start : start + size] for start in range(0, n, size))
        runs = [self._threads.submit(partial(self._run, batch)) for batch in batches]
        return np.concatenate([run.result() for run in runs])[:n]

    def close(self, *, within_s: float = 5) -> None:
        """Close the runtime after its running batch; a batch that takes longer ends with the process."""
        self._threads.shrink(1)
        closed = self._threads.submit(self._runtime.close)
        self._threads.stop()
        with suppress(TimeoutError):
            closed.result(within_s)
            self._threads.join(within_s)

    def _run(self, lr_nchw: Nchw) -> Nchw:
        n, channels, height, width = lr_nchw.shape
        assert n in self._sizes.get((height, width), ()), f"{n} images of {height}x{width} were never warmed"
        sr = self._runtime.run(lr_nchw)
        expected = (n, channels, self.spec.scale * height, self.spec.scale * width)
        if sr.shape != expected:
            raise InferenceFailed(f"The predictor returned the shape {sr.shape} instead of {expected}")
        if not np.isfinite(sr).all():
            raise InferenceFailed("The predictor returned values that are not numbers")
        return sr

    def _warm_up(self) -> None:
        """Prepares every shape; the streams share the shapes."""
        batches = [self._grey(size, image) for image, sizes in self._sizes.items() for size in sizes]
        runs = [self._threads.submit(partial(self._runtime.prepare, lr)) for lr in batches]
        for lr, run in zip(batches, runs, strict=True):
            self._warmed(lr, run)

    def _seconds(self, size: int, image: Size) -> float:
        """Seconds that one batch takes while every stream runs one.

        Of the fastest stream, since the others may still allocate the memory for their first batch of the shape.
        """
        lr = self._grey(size, image)
        begin = threading.Barrier(self.streams)
        runs = [self._threads.submit(partial(self._timed, lr, begin)) for _ in range(self.streams)]
        return min(self._warmed(lr, run) for run in runs)

    def _grey(self, size: int, image: Size) -> Nchw:
        return np.full((size, 3, *image), self.spec.high / 2, np.float32)

    def _warmed(self, lr: Nchw, run: "Future[T]") -> T:
        try:
            return run.result()
        except InferenceFailed as exc:
            raise StartupError(
                f"Warming up {len(lr)} images of {lr.shape[2]}x{lr.shape[3]} failed: {exc}; if that is too much, "
                "leave the largest out of TELESCOPE_BATCH_SIZES."
            ) from exc

    def _timed(self, lr_nchw: Nchw, begin: threading.Barrier) -> float:
        begin.wait()  # for the other streams, so that each thread gets one
        seconds: list[float] = []
        while not seconds or (sum(seconds) < WARM_UP_S and len(seconds) < MAX_TIMINGS):
            start = perf_counter()
            self._run(lr_nchw)
            seconds.append(perf_counter() - start)
        return median(seconds)
