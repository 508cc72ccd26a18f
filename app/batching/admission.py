"""One admitted request, from its admission to its end."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from app.batching.capacity import Capacity
from app.batching.forecast import Forecast
from app.batching.queue import EXPIRED, BatchQueue, Chw, InferenceResult, QueuedRequest
from app.errors import DeadlineExceeded
from model_store.pixels import Nchw


class Admission:
    """A request's share of the capacity and its place in the queue; the end of the context gives both back."""

    def __init__(
        self,
        *,
        windows: int,
        nbytes: int,
        deadline: float,
        capacity: Capacity,
        queue: BatchQueue,
        forecast: Forecast,
        clock: Callable[[], float],
    ) -> None:
        self.deadline = deadline
        self._windows = windows
        self._nbytes = nbytes
        self._capacity = capacity
        self._queue = queue
        self._forecast = forecast
        self._clock = clock
        self._request = QueuedRequest(deadline, left=windows, undecoded=windows)
        self._inferred_at = 0.0

    def __enter__(self) -> Self:
        self._capacity.take(windows=self._windows, nbytes=self._nbytes)
        self._queue.enter(self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._inferred_at:
            self._forecast.request_ended(self._clock() - self._inferred_at)
        self._capacity.give_back(windows=self._windows, nbytes=self._nbytes)
        self._queue.leave(self._request)

    def release(self, windows: int) -> None:
        """Give back admitted work that turned out not to be needed."""
        self._queue.release(self._request, windows)
        self._windows -= windows
        self._capacity.windows.give_back(windows)

    async def infer(self, images: Sequence[Chw] | Nchw) -> list[InferenceResult]:
        """LR images, each float32 (3, h, w), of the work admitted -> their results, in order.

        Raises DeadlineExceeded at the deadline, InferenceFailed, or NotReady if the batcher stops.
        Cancelling the call takes the images out of the queue.
        """
        now = self._clock()
        results = [item.result for item in self._queue.push(self._request, images, now=now)]
        try:
            await asyncio.wait(results, timeout=self.deadline - now, return_when=asyncio.FIRST_EXCEPTION)
            inferred = [result.result() for result in results if result.done()]
            if len(inferred) < len(results):
                raise DeadlineExceeded(EXPIRED)
            self._inferred_at = self._clock()
            return inferred
        finally:
            cancelled = [result for result in results if result.cancel()]
            for result in results:
                if not result.cancelled():
                    result.exception()  # asyncio logs exceptions that no code has retrieved
            if cancelled:
                self._queue.drop(ends=self._clock())  # now, not when the running batch ends: it may hang
