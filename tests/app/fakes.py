"""Stand-ins for the one thing a test needs to control: the predictor."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import looptime
import numpy as np

from app.errors import InferenceFailed, OutOfMemory
from app.inference.predictor import Predictor
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw

T = TypeVar("T")
P = ParamSpec("P")


def nearest_x2(lr: Nchw) -> Nchw:
    """Every pixel becomes four: an answer shows which question it belongs to."""
    return lr.repeat(2, axis=2).repeat(2, axis=3)


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a loop whose clock jumps over every sleep: exact times, no waiting."""
    real = asyncio.new_event_loop()
    assert isinstance(real, asyncio.BaseEventLoop)
    loop = looptime.patch_event_loop(real)
    try:
        return loop.run_until_complete(asyncio.wait_for(work(), timeout=10_000))
    finally:
        loop.close()


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorate an async test or function, which then runs in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return in_virtual_time(functools.partial(test, *args, **kwargs))

    return run


class FakeRuntime:
    """A runtime that repeats pixels; a closed gate holds it inside a batch. Notes batches and threads."""

    name = "fake"
    device = "cpu"
    precision = "fp32"
    streams = 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []
        self.threads: set[str] = {threading.current_thread().name}
        self.fail_on: float | None = None  # a batch holding a pixel of this value fails
        self.closed = False

    def prepare(self, lr_nchw: Nchw) -> None:
        self.run(lr_nchw)

    def run(self, lr_nchw: Nchw) -> Nchw:
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(30), "the test forgot to open the gate"
        self.batches.append(len(lr_nchw))
        if self.fail_on is not None and np.isclose(lr_nchw, self.fail_on, atol=1e-3).any():
            raise InferenceFailed("this image is cursed")
        return nearest_x2(lr_nchw)

    def rest(self) -> None:
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.closed = True


def fake_predictor(runtime: FakeRuntime, *, spec: PixelSpec, batch_sizes: Sequence[int]) -> Predictor:
    """A predictor whose batches take the same time for any number of images, so full ones are the best plan.

    The warm-up of a runtime that does nothing would measure the machine's load alone.
    """
    predictor = Predictor(lambda: runtime, spec=spec, batch_sizes=batch_sizes)
    predictor.batch_seconds = {
        image: dict.fromkeys(seconds, 0.001) for image, seconds in predictor.batch_seconds.items()
    }
    return predictor


class FakeExecutor:
    """The batcher's execute on virtual time: a batch of n takes `seconds[n]`."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.batches: list[list[float]] = []  # the first pixel of every row, padding included
        self.started_at: list[float] = []
        self.fail_on: float | None = None
        self.out_of_memory_from = 10**9

    async def __call__(self, lr: Nchw) -> Nchw:
        self.started_at.append(asyncio.get_running_loop().time())
        self.batches.append([float(row[0, 0, 0]) for row in lr])
        await asyncio.sleep(self.seconds[len(lr)])
        if len(lr) >= self.out_of_memory_from:
            raise OutOfMemory("too large")
        if self.fail_on in self.batches[-1]:
            raise InferenceFailed("this image is cursed")
        return nearest_x2(lr)


class NoObserver:
    def batch_ran(self, *, size: int, items: int, seconds: float, waits_s: Sequence[float]) -> None: ...

    def batch_failed(self) -> None: ...
