"""One predictor, one thread: the runtime is opened, warmed, run and closed there and nowhere else.

Frameworks keep per-thread state, and a Paddle predictor shared between threads mixes up its users'
results; a dedicated thread makes that impossible by construction.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter
from typing import TypeVar

import numpy as np

from app.errors import InferenceFailed, StartupError
from app.runtimes.base import Runtime
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw

T = TypeVar("T")


class Predictor:
    def __init__(
        self, open_runtime: Callable[[], Runtime], *, spec: PixelSpec, batch_sizes: Sequence[int]
    ) -> None:
        """Opens the runtime and warms every batch size; returns when it is ready to serve.

        Raises whatever `open_runtime` raises, or StartupError if a warm-up batch fails.
        """
        self.spec = spec
        self.batch_sizes = tuple(sorted(batch_sizes))
        self._thread = DaemonThread("predictor")
        try:
            self._runtime = self._thread.submit(open_runtime).result()
        except BaseException:
            self._thread.stop()
            raise
        try:
            self.batch_seconds: Mapping[int, float] = self._thread.submit(self._warm_up).result()
        except BaseException:
            self.close()
            raise

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
        """LR float32 (N, 3, h, w), N one of `batch_sizes` -> SR. Raises InferenceFailed."""
        return await asyncio.wrap_future(self._thread.submit(lambda: self._run(lr_nchw)))

    def run_blocking(self, lr_nchw: Nchw) -> Nchw:
        """The same for a caller without an event loop, such as the command line."""
        return self._thread.submit(lambda: self._run(lr_nchw)).result()

    def close(self, *, within_s: float = 5) -> None:
        """Close the runtime after the batch it runs; one that takes longer is left to the process's end."""
        closed = self._thread.submit(self._runtime.close)
        self._thread.stop()
        with suppress(TimeoutError):
            closed.result(within_s)

    def _run(self, lr_nchw: Nchw) -> Nchw:
        assert len(lr_nchw) in self.batch_sizes, f"batch size {len(lr_nchw)} was never warmed"
        sr = self._runtime.run(lr_nchw)
        n, channels, height, width = lr_nchw.shape
        expected = (n, channels, self.spec.scale * height, self.spec.scale * width)
        if sr.shape != expected:
            raise InferenceFailed(f"The predictor returned the shape {sr.shape} instead of {expected}")
        if not np.isfinite(sr).all():
            raise InferenceFailed("The predictor returned values that are not numbers")
        return sr

    def _warm_up(self) -> dict[int, float]:
        seconds = {}
        for size in self.batch_sizes:
            lr = np.full((size, 3, self.spec.height, self.spec.width), self.spec.high / 2, np.float32)
            try:
                self._run(lr)  # pays for compilation and allocation
                seconds[size] = self._timed(lr)
            except InferenceFailed as exc:
                raise StartupError(
                    f"Warming up batch size {size} failed: {exc}; if it is too large, leave it out of "
                    "TELESCOPE_BATCH_SIZES."
                ) from exc
        return seconds

    def _timed(self, lr_nchw: Nchw) -> float:
        start = perf_counter()
        self._run(lr_nchw)
        return perf_counter() - start


class DaemonThread:
    """One daemon thread that does what it is given, in order.

    Not a ThreadPoolExecutor: the interpreter waits for an executor's threads when it ends, so a predictor that
    never returns would keep the process from stopping.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

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
        """End the thread after what it was given so far."""
        self._work.put(None)

    def _loop(self) -> None:
        while (do := self._work.get()) is not None:
            do()
