"""One admitted request, from its admission to its end."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from app.batching.capacity import Capacity
from app.batching.forecast import Forecast
from app.batching.queue import EXPIRED, BatchQueue, InferenceResult, QueuedRequest
from app.errors import DeadlineExceeded
from model_store.pixels import Chw, Nchw


class Admission:
    """A request's share of the capacity and its place in the queue; the end of the context gives both back."""

    def __init__(
        self, request: QueuedRequest, *, nbytes: int, capacity: Capacity, queue: BatchQueue, forecast: Forecast
    ) -> None:
        self.deadline = request.deadline
        self._request = request
        self._windows = request.left
        self._nbytes = nbytes
        self._capacity = capacity
        self._queue = queue
        self._forecast = forecast
        self._inferred_at = 0.0

    def __enter__(self) -> Self:
        self._capacity.windows.take(self._windows)
        self._capacity.decoded_bytes.take(self._nbytes)
        self._queue.enter(self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._inferred_at:
            self._forecast.request_ended(self._forecast.now() - self._inferred_at)
        self._capacity.windows.give_back(self._windows)
        self._capacity.decoded_bytes.give_back(self._nbytes)
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
        now = self._forecast.now()
        results = [item.result for item in self._queue.push(self._request, images, now=now)]
        try:
            await asyncio.wait(results, timeout=self.deadline - now, return_when=asyncio.FIRST_EXCEPTION)
            inferred = [result.result() for result in results if result.done()]
            if len(inferred) < len(results):
                raise DeadlineExceeded(EXPIRED)
            self._inferred_at = self._forecast.now()
            return inferred
        finally:
            cancelled = [result for result in results if result.cancel()]
            for result in results:
                if not result.cancelled():
                    result.exception()  # asyncio logs exceptions that no code has retrieved
            if cancelled:
                self._queue.drop(ends=self._forecast.now())  # now, not when the running batch ends: it may hang
