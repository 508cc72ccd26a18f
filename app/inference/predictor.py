"""One predictor, and a thread for each stream of its runtime, which runs there and nowhere else.

Frameworks keep per-thread state, and a Paddle predictor shared between threads mixes up its users'
results; threads of its own, one where the runtime promises no more, make that impossible by construction.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import ceil, prod
from queue import SimpleQueue
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from app.errors import InferenceFailed, StartupError
from app.inference.runtimes.base import Runtime
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw
from model_store.tiling import Size

WARM_UP_S, MAX_TIMINGS = 0.05, 10  # of each batch size
T = TypeVar("T")


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

        batch_sizes: of the trained input size; a larger one has those that are no more work. input_sizes: beside
        the trained one.

        Raises whatever `open_runtime` raises, or StartupError if a warm-up batch fails.
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
        self.streams = self._runtime.streams
        self._threads.grow(self.streams)
        try:
            self.batch_seconds: Mapping[Size, Mapping[int, float]] = {
                image: {size: self._warm_up(size, image) for size in sizes} for image, sizes in self._sizes.items()
            }
        except BaseException:
            self.close()
            raise

    def sizes(self, image: Size) -> tuple[int, ...]:
        """The batch sizes of images of this size."""
        return self._sizes[image]

    def _batches(self, image: Size) -> tuple[int, ...]:
        windows = ceil(prod(image) / (self.spec.height * self.spec.width))
        return tuple(size for size in self.batch_sizes if size == 1 or size * windows <= self.batch_sizes[-1])

    @property
    def runtime(self) -> str:
        return self._runtime.name

    @property
    def device(self) -> str:
        return self._runtime.device

    @property
    def precision(self) -> str:
        return self._runtime.precision

    async def run(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w), N one of `sizes` of (h, w) -> SR. Raises InferenceFailed."""
        return await asyncio.wrap_future(self._threads.submit(lambda: self._run(lr_nchw)))

    def run_blocking(self, lr_nchw: Nchw) -> Nchw:
        """The same for a caller without an event loop; cut up for all streams where a part has a warmed size."""
        share = len(lr_nchw) // self.streams
        sizes = self.sizes((lr_nchw.shape[2], lr_nchw.shape[3]))
        parts = self.streams if share in sizes and share * self.streams == len(lr_nchw) else 1
        runs = [self._threads.submit(partial(self._run, part)) for part in np.split(lr_nchw, parts)]
        return np.concatenate([run.result() for run in runs])

    def close(self, *, within_s: float = 5) -> None:
        """Close the runtime after the batch it runs; one that takes longer is left to the process's end."""
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

    def _warm_up(self, size: int, image: Size) -> float:
        """Seconds that one batch takes while every stream runs one."""
        lr = np.full((size, 3, *image), self.spec.high / 2, np.float32)
        begin = threading.Barrier(self.streams)

        def timed() -> float:
            begin.wait()  # until each thread has its part
            self._run(lr)  # pays for compilation and allocation
            seconds: list[float] = []
            while not seconds or (sum(seconds) < WARM_UP_S and len(seconds) < MAX_TIMINGS):
                start = perf_counter()
                self._run(lr)
                seconds.append(perf_counter() - start)
            return median(seconds)

        try:
            return max(run.result() for run in [self._threads.submit(timed) for _ in range(self.streams)])
        except InferenceFailed as exc:
            raise StartupError(
                f"Warming up {size} images of {image[0]}x{image[1]} failed: {exc}; if that is too much, leave the "
                "largest out of TELESCOPE_BATCH_SIZES."
            ) from exc


class DaemonThreads:
    """Daemon threads that do what they are given, in order: one, until there are more.

    Not a ThreadPoolExecutor: the interpreter waits for an executor's threads when it ends, so a predictor that
    never returns would keep the process from stopping.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = 0
        self._threads: list[threading.Thread] = []
        self.grow(1)

    def grow(self, count: int) -> None:
        """To so many threads."""
        for _ in range(self._count, count):
            thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._count = max(self._count, count)

    def shrink(self, count: int) -> None:
        """To so many, each after what it does; what is given from then on comes after that."""
        for _ in range(count, self._count):
            self._work.put(None)
        self._count = min(self._count, count)

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()

        def do() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as exc:
                    future.set_exception(exc)

        self._work.put(do)
        return future

    def stop(self) -> None:
        """End the threads after what they were given so far."""
        self.shrink(0)

    def join(self, within_s: float) -> None:
        """Wait for their end: what a thread holds of a framework must not outlive the interpreter."""
        for thread in self._threads:
            thread.join(within_s)

    def _loop(self) -> None:
        while (do := self._work.get()) is not None:
            do()
