"""Dynamic micro-batching: many requests, one predictor.

    admit (all of a request's images or none) -> queue -> drop expired images -> batch -> execute -> results
      |  refused: Overloaded, RequestTooLarge, NotReady         fails: each image once more, alone

Work-conserving: an idle stream of the predictor runs at once the images that wait; while all streams are busy, the
queue builds, and the next batch takes from it the number that the plan finds cheapest. Nothing polls: a stream
sleeps until an image arrives, a delay ends or a batch returns.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from app.batching.admission import Admission
from app.batching.capacity import Capacity
from app.batching.forecast import Forecast, overloaded
from app.batching.in_flight import Batch, InFlight, inference_failed
from app.batching.plan import Plans
from app.batching.queue import EXPIRED, BatchQueue, QueuedRequest
from app.errors import DeadlineExceeded, NotReady, OutOfMemory, Overloaded
from app.telemetry.tracing import OFF, Tracing
from model_store.pixels import Nchw, Size

Execute = Callable[[Nchw], Awaitable[Nchw]]
log = logging.getLogger("telescope.batcher")


class Observer(Protocol):
    """Receives one call per batch; used for metrics."""

    def batch_ran(self, *, size: int, items: int, seconds: float, waits_s: Sequence[float]) -> None: ...

    def batch_failed(self) -> None: ...


class Batcher:
    def __init__(
        self,
        execute: Execute,
        *,
        batch_seconds: Mapping[Size, Mapping[int, float]],
        capacity: Capacity,
        observer: Observer,
        streams: int = 1,
        max_delay_s: float = 0,  # work-conserving: an idle predictor never waits
        hang_s: float = math.inf,
        tracing: Tracing = OFF,
        clock: Callable[[], float] = time.monotonic,  # uvloop's own time() counts in whole milliseconds
    ) -> None:
        """execute: runs one batch of images of one size.

        batch_seconds: by image size, and by the number of images, which includes 1. The first size is the trained
            one, whose images are one window of work each.
        streams: batches that it runs at once, as many as ran when `batch_seconds` were measured.
        hang_s: a batch that takes longer counts as hanging.
        """
        self._execute = execute
        self._clock = clock
        self.capacity = capacity
        self._observer = observer
        self._max_delay_s = max_delay_s
        self._hang_s = hang_s
        self._tracing = tracing
        self._plans = Plans(batch_seconds, max_windows=capacity.windows.limit)
        self._queue = BatchQueue(self._plans)
        self._in_flight = InFlight(streams=streams)
        self._forecast = Forecast(self._plans, self._queue, self._in_flight, clock)
        self._closed_because = ""

    @property
    def queued_windows(self) -> int:
        return self._queue.windows

    def windows(self, size: Size) -> int:
        """The work of one image of this size."""
        return self._plans.windows[size]

    def admit(self, *, windows: int, nbytes: int, deadline: float) -> Admission:
        """Admit a whole request or refuse it. Use as a context manager.

        deadline: on the batcher's clock. Raises NotReady, RequestTooLarge (it does not fit even when idle),
        DeadlineExceeded, or Overloaded with the seconds after which it is worth trying again.
        """
        self.check_open()
        if not self.capacity.fits(windows=windows, nbytes=nbytes):
            excess = self.capacity.windows.used + windows - self.capacity.windows.limit
            raise overloaded("The queue is full", self._forecast.wait_s(max(0, excess - self._in_flight.windows)))
        if deadline <= self._clock():
            raise DeadlineExceeded(EXPIRED)
        self._forecast.check(windows, deadline=deadline)
        request = QueuedRequest(deadline, left=windows, undecoded=windows)
        return Admission(
            request, nbytes=nbytes, capacity=self.capacity, queue=self._queue, forecast=self._forecast
        )

    @property
    def is_open(self) -> bool:
        return not self._closed_because and self.hangs_for_s == 0

    @property
    def hangs_for_s(self) -> float:
        """For how long a batch has counted as hanging, 0 if none does."""
        return max(0.0, self._in_flight.longest_s(self._clock()) - self._hang_s)

    def check_open(self) -> None:
        """Raises NotReady, with the reason, while requests are refused."""
        if self._closed_because:
            raise NotReady(self._closed_because)
        if self.hangs_for_s:
            stuck_s = self.hangs_for_s + self._hang_s
            raise NotReady(f"The predictor has not answered for {stuck_s:.0f} s; send it to another replica.")

    def check_capacity(self) -> None:
        """Raises NotReady or Overloaded if not even one image would be admitted; for use before a body is read."""
        self.check_open()
        if self.capacity.windows.is_full:
            raise self.overloaded("The queue is full")

    def overloaded(self, what: str) -> Overloaded:
        """The refusal for a lack of capacity, with the time until the work admitted so far should be done."""
        return overloaded(what, self.retry_after_s)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until the work admitted so far should be done, at least one."""
        return max(1, math.ceil(self._forecast.wait_s(self._queue.left)))

    def close(self, reason: str) -> None:
        """Refuse all further requests with NotReady(reason); admitted requests go on."""
        self._closed_because = self._closed_because or reason

    async def idle(self) -> None:
        """Returns when every admitted request has ended."""
        await self._queue.idle.wait()

    async def run(self) -> None:
        """The streams' loops; cancel it to stop. Unfinished requests then fail with NotReady."""
        try:
            async with asyncio.TaskGroup() as streams:
                for _ in range(self._in_flight.streams):
                    streams.create_task(self._stream())
        finally:
            self.close("The predictor has stopped; the service must be restarted.")
            self._queue.stop(self._closed_because, in_flight=self._in_flight.items)

    async def _stream(self) -> None:
        """One batch after another; the next one starts before the requests of the last one go on."""
        while True:
            await self._until_due()
            await self._run(self._next_batch())

    async def _until_due(self) -> None:
        """Returns when a batch should start."""
        while True:
            # An image that would end too late in the next batch is not begun while others wait.
            self._queue.drop(ends=self._clock() + self._forecast.next_batch_s())
            wait_s = None
            if self._queue:
                if not self._max_delay_s or self._queue.windows >= self._plans.trained.largest:
                    return
                wait_s = self._queue.oldest_at + self._max_delay_s - self._clock()
                if wait_s <= 0:
                    return
            self._queue.arrival.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._queue.arrival.wait()

    def _next_batch(self) -> Batch:
        self._plans.retry_larger(now=self._clock())
        image = self._queue.next_size
        plan = self._plans[image]
        share = math.ceil(self._queue.waiting(image) / self._in_flight.idle_streams)
        items = self._queue.take(image, plan.first(share))
        size = plan.smallest_for(len(items))
        warm_s = plan.seconds(size)
        batch = Batch(items, size, self._clock(), warm_s, expected_s=warm_s * self._forecast.slowdown)
        self._in_flight.begin(batch)
        return batch

    async def _run(self, batch: Batch) -> None:
        size, items = batch.size, len(batch.items)
        try:
            with self._tracing.batch(size=size, items=items) as traced:
                sr = await self._execute(batch.stack())
        except Exception as exc:
            log.error("a batch of %d failed", items, exc_info=exc)
            self._observer.batch_failed()
            self._retry(batch, exc)
        else:
            seconds = self._clock() - batch.started_at
            self._forecast.batch_ran(batch, seconds)
            self._observer.batch_ran(size=size, items=items, seconds=seconds, waits_s=batch.waits_s)
            batch.finish(sr, seconds=seconds, traced=traced)
        self._in_flight.end(batch)

    def _retry(self, batch: Batch, exc: Exception) -> None:
        """Out of memory: smaller batches from now on. Any other error: each image once more, alone."""
        if isinstance(exc, OutOfMemory) and batch.size > 1:
            log.warning("out of memory: %s", self._plans.halve(batch.windows, now=self._clock()))
            self._queue.push_back(batch.items, alone=False)
        elif len(batch.items) > 1:
            self._queue.push_back(batch.items, alone=True)
        elif not batch.items[0].result.done():
            batch.items[0].result.set_exception(inference_failed(exc))
