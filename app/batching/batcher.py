"""Dynamic micro-batching: many requests, one predictor. Knows nothing of HTTP.

    admit (all of a request's images or none) -> queue -> drop the gone -> batch -> execute -> answers
      |  refused: Overloaded, RequestTooLarge, NotReady     |  fails: each image once more, alone

Images may have several sizes; a batch holds one, and work is counted in windows (`app/batch_queue.py`).

Work-conserving: an idle stream of the predictor runs at once what is there; while all are busy, the queue builds,
and the next batch takes from it what the plan finds cheapest. Nothing polls: the loop sleeps until an image
arrives, a delay ends or a batch returns.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import prod
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from app.batching.capacity import Capacity
from app.batching.in_flight import Batch, Running
from app.batching.plan import BatchPlan
from app.batching.queue import EXPIRED, BatchQueue, Chw, InferenceResult, Item, Size
from app.errors import DeadlineExceeded, InferenceFailed, NotReady, OutOfMemory, Overloaded
from app.telemetry.tracing import OFF, Tracing
from model_store.pixels import Nchw

Execute = Callable[[Nchw], Awaitable[Nchw]]
OOM_RETRY_S = 60.0  # after running out of memory; doubled each time the larger size fails again
RETURN_S = 1.0  # those who are told to come again take a moment longer than they were told
MAX_SLOWDOWN = 8  # one stalled batch must not make the next dozen predictions absurd
log = logging.getLogger("telescope.batcher")


class Observer(Protocol):
    """Who counts what happens here."""

    def batch_ran(self, *, size: int, items: int, seconds: float, waits_s: Sequence[float]) -> None: ...

    def batch_failed(self, *, size: int, items: int) -> None: ...


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
        self._batch_seconds = batch_seconds
        self._trained = next(iter(batch_seconds))
        self._windows = {size: math.ceil(prod(size) / prod(self._trained)) for size in batch_seconds}
        self._largest = max(batch_seconds[self._trained])
        self._hold_at_most(self._largest)
        self._oom_retry_s = OOM_RETRY_S
        self._queue = BatchQueue(largest=self._largest)
        self._running = Running(streams=streams)
        self._arrival = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed_because = ""
        self._slowdown = 1.0  # recent batches against their warm-up times
        self._afterwards_s = 0.0  # what recent requests still took when their last image was inferred
        self._admissions = 0
        self._stopped = False

    @property
    def queued_windows(self) -> int:
        return self._queue.windows

    def windows(self, size: Size) -> int:
        """The work of one image of this size."""
        return self._windows[size]

    def admit(self, *, windows: int, nbytes: int, deadline: float) -> "Admission":
        """Reserve room for a whole request, or refuse it whole. Use as a context manager.

        deadline: on the batcher's clock. Raises NotReady, RequestTooLarge (it would never fit) or
        Overloaded with the seconds after which it is worth trying again.
        """
        self.check_open()
        now = self._clock()
        try:
            self._check_fits(windows, nbytes, now=now)
            if deadline <= now:
                raise DeadlineExceeded(EXPIRED)
            self._check_waits(windows, now=now, deadline=deadline)
        except Overloaded as exc:
            self._queue.refused(windows, until=now + exc.retry_after_s + RETURN_S)
            raise
        return Admission(self, windows=windows, nbytes=nbytes, deadline=deadline)

    def _check_fits(self, windows: int, nbytes: int, *, now: float) -> None:
        if not self.capacity.fits(windows=windows, nbytes=nbytes):
            too_many = max(0, self.capacity.windows.used + windows - self.capacity.windows.limit)
            raise _overloaded("The queue is full", self._wait_s(max(0, too_many - self._running.windows)))
        too_many = self._queue.beyond_its_half(windows, of=self.capacity.windows.limit, now=now)
        if too_many > 0:
            raise _overloaded(
                "The queue's other half is kept for requests of another size", self._wait_s(too_many)
            )

    def _check_waits(self, windows: int, *, now: float, deadline: float) -> None:
        """Raises Overloaded where the request would come too late, or make one that is inside come too late."""
        if not self._queue.left and not self._running.windows:
            return  # whatever the prediction: only a batch that runs can mend a wrong one
        now += 2 * self._afterwards_s  # or half of them would be late
        wait_s = self._wait_s(self._queue.until_done(windows, now=now))
        if now + wait_s > deadline:
            raise _overloaded(f"The wait would be {wait_s:.2f} s, beyond the deadline", now + wait_s - deadline)
        if now + self._wait_s(self._queue.left + windows) <= self._queue.earliest_deadline:
            return  # not even the last of all
        for due, until_done in self._queue.delayed_by(windows):
            late_s = now + self._wait_s(until_done) - due
            if late_s > 0:
                raise _overloaded("Requests that were here before would come too late", late_s)

    @property
    def is_open(self) -> bool:
        return not self._closed_because and self.hangs_for_s == 0

    @property
    def hangs_for_s(self) -> float:
        """For how long a batch has counted as hanging, 0 if none does."""
        return max(0.0, self._running.longest_s(self._clock()) - self._hang_s)

    def check_open(self) -> None:
        """Raises NotReady, saying why, while requests are refused."""
        if self._closed_because:
            raise NotReady(self._closed_because)
        if self.hangs_for_s:
            stuck_s = self.hangs_for_s + self._hang_s
            raise NotReady(f"The predictor has not answered for {stuck_s:.0f} s; send it to another replica.")

    def check_capacity(self) -> None:
        """Raises NotReady or Overloaded when not even one image would be admitted; asked before a body is read."""
        self.check_open()
        if self.capacity.windows.is_full:
            raise self.overloaded("The queue is full")

    def overloaded(self, what: str) -> Overloaded:
        """The refusal for a lack of room, with the time until what is admitted now should be done."""
        return _overloaded(what, self._wait_s(self._queue.left))

    def close(self, reason: str) -> None:
        """Refuse all further requests with NotReady(reason); those admitted are still answered."""
        self._closed_because = self._closed_because or reason

    async def idle(self) -> None:
        """Returns when every admitted request has been answered and let go."""
        await self._idle.wait()

    async def run(self) -> None:
        """The executor's loop; cancel it to stop. What is left then fails with NotReady."""
        try:
            async with asyncio.TaskGroup() as streams:
                for _ in range(self._running.streams):
                    streams.create_task(self._stream())
        finally:
            self._stopped = True
            self.close("The predictor has stopped; the service must be restarted.")
            for item in (*self._running.items, *self._queue):
                if not item.answer.done():
                    item.answer.set_exception(NotReady(self._closed_because))

    async def _stream(self) -> None:
        """One batch after another: the next is on its way before those who got their answers go on."""
        while True:
            await self._work_waits()
            await self._answer(self._begin())

    async def _work_waits(self) -> None:
        while True:
            self._drop_the_gone()
            wait_s = None
            if self._queue:
                wait_s = self._queue.oldest_at + self._max_delay_s - self._clock()
                if wait_s <= 0 or self._queue.windows >= self._plan.sizes[-1]:
                    return
            self._arrival.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrival.wait()
            except TimeoutError:
                continue

    def _drop_the_gone(self) -> None:
        """Images leave that were cancelled or would be late when the next batch ends: none is run in vain."""
        self._queue.drop_the_gone(ends=self._clock() + (self._next_batch_s() if self._running.idle_streams else 0))

    def _begin(self) -> Batch:
        if self._clock() >= self._oom_retry_at:
            self._hold_at_most(2 * self._held)
        image = self._queue.next_size
        plan = self._plans[image]
        share = math.ceil(self._queue.waiting(image) / self._running.idle_streams)
        items = self._queue.take(image, plan.first(share))
        size = plan.smallest_for(len(items))
        batch = Batch(items, size, self._clock(), expected_s=plan.seconds(size) * self._slowdown)
        self._running.begin(batch)
        return batch

    def _hold_at_most(self, windows: int) -> None:
        """Batches of so much work or less from now on; while some are larger, they are tried again later."""
        self._held = windows
        self._plans = {
            image: BatchPlan(
                {n: s for n, s in seconds.items() if n == 1 or n * self._windows[image] <= windows},
                max_items=self.capacity.windows.limit,
            )
            for image, seconds in self._batch_seconds.items()
        }
        self._plan = self._plans[self._trained]
        self._oom_retry_at = math.inf if windows >= self._largest else self._clock() + self._oom_retry_s

    async def _answer(self, batch: Batch) -> None:
        items, size = batch.items, batch.size
        try:
            with self._tracing.batch(size=size, items=len(items)) as traced:
                sr = await self._execute(_stack(items, size))
        except Exception as exc:
            log.error("a batch of %d failed", len(items), exc_info=exc)
            self._observer.batch_failed(size=size, items=len(items))
            self._recover(items, size=size, exc=exc)
        else:
            seconds = self._clock() - batch.started_at
            ratio = min(seconds / self._batch_seconds[items[0].size][size], MAX_SLOWDOWN)
            self._slowdown += 0.2 * (ratio - self._slowdown)
            waits_s = [batch.started_at - item.enqueued_at for item in items]
            self._observer.batch_ran(size=size, items=len(items), seconds=seconds, waits_s=waits_s)
            for item, wait_s, row in zip(items, waits_s, sr, strict=False):  # the padding has no asker
                if not item.answer.done():
                    item.answer.set_result(InferenceResult(row, queue_s=wait_s, inference_s=seconds, batch=traced))
        self._running.end(batch)

    def _recover(self, items: list[Item], *, size: int, exc: Exception) -> None:
        """Out of memory: smaller batches from now on. Anything else: each image once more, alone."""
        if isinstance(exc, OutOfMemory) and size > 1:
            self._hold_at_most(size * items[0].windows // 2)
            log.warning("out of memory: batches of %d windows for %.0f s", self._held, self._oom_retry_s)
            self._oom_retry_s *= 2  # it may not be a passing shortage
            self._queue.push_back(items, alone=False)
        elif len(items) > 1:
            self._queue.push_back(items, alone=True)
        elif not items[0].answer.done():
            items[0].answer.set_exception(_inference_failed(exc))

    def _next_batch_s(self) -> float:
        """How long the next batch should take; 0 while one that fits the queue alone has yet to show it."""
        if self._queue.windows <= self._plan.sizes[-1]:
            return 0
        image = self._queue.next_size
        plan = self._plans[image]
        return plan.seconds(plan.first(self._queue.waiting(image))) * self._slowdown

    def _wait_s(self, windows: int) -> float:
        """Predicted seconds until the running batches and so much more work are done."""
        largest = self._plan.sizes[-1]
        if windows > largest:  # the last of them shares its batch with what comes after
            windows = math.ceil(windows / largest) * largest
        own_s = self._plan.cost(windows) * self._slowdown
        last_s = min(own_s, self._plan.seconds(largest) * self._slowdown)  # the last batch has one stream
        streams = self._running.streams
        return (self._running.left_s(self._clock()) + own_s + (streams - 1) * last_s) / streams


class Admission:
    """One admitted request's room in the service and place in the queue, given back when the context ends."""

    def __init__(self, batcher: Batcher, *, windows: int, nbytes: int, deadline: float) -> None:
        self._batcher = batcher
        self._windows = windows
        self._nbytes = nbytes
        self._unqueued = windows  # still being decoded
        self._inferred_at = 0.0
        self.deadline = deadline

    def __enter__(self) -> Self:
        batcher = self._batcher
        batcher.capacity.take(windows=self._windows, nbytes=self._nbytes)
        self._place = batcher._queue.enter(self._windows, deadline=self.deadline)
        batcher._admissions += 1
        batcher._idle.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        batcher = self._batcher
        if self._inferred_at:
            afterwards_s = batcher._clock() - self._inferred_at
            batcher._afterwards_s += 0.1 * (afterwards_s - batcher._afterwards_s)
        batcher.capacity.give_back(windows=self._windows, nbytes=self._nbytes)
        batcher._queue.leave(self._place)
        batcher._admissions -= 1
        if not batcher._admissions:
            batcher._idle.set()

    def release(self, windows: int) -> None:
        """Give back the room of work that will not come after all."""
        assert 0 <= windows <= self._unqueued
        self._windows -= windows
        self._unqueued -= windows
        self._place.count(-windows)
        self._batcher.capacity.windows.give_back(windows)

    async def infer(self, images: Sequence[Chw] | Nchw) -> list[InferenceResult]:
        """LR images, each float32 (3, h, w), of the work admitted -> their answers, in order.

        Raises DeadlineExceeded at the deadline, InferenceFailed, or NotReady if the batcher stops.
        Cancelling the call takes the images out of the queue.
        """
        batcher = self._batcher
        if batcher._stopped:
            raise NotReady(batcher._closed_because)
        loop = asyncio.get_running_loop()
        now = batcher._clock()
        items = [
            Item(
                image,
                loop.create_future(),
                now,
                self._place,
                batcher._queue.number(),
                batcher.windows((image.shape[1], image.shape[2])),
            )
            for image in images
        ]
        self._unqueued -= sum(item.windows for item in items)
        assert self._unqueued >= 0, "more work than was admitted"
        batcher._queue.push(items)
        batcher._arrival.set()
        answers = [item.answer for item in items]
        try:
            await asyncio.wait(answers, timeout=self.deadline - now, return_when=asyncio.FIRST_EXCEPTION)
            inferred = [answer.result() for answer in answers if answer.done()]
            if len(inferred) < len(answers):
                raise DeadlineExceeded(EXPIRED)
            self._inferred_at = batcher._clock()
            return inferred
        finally:
            cancelled = [answer for answer in answers if answer.cancel()]
            for answer in answers:
                if not answer.cancelled():
                    answer.exception()  # or asyncio would tell the log that nobody has looked
            if cancelled:
                batcher._drop_the_gone()  # now, not when the running batch ends: it may hang


def _stack(items: Sequence[Item], size: int) -> Nchw:
    """(size, 3, h, w): the images, then zeros where the batch is padded."""
    lr = np.zeros((size, *items[0].lr.shape), np.float32)
    for row, item in zip(lr, items, strict=False):
        row[:] = item.lr
    return lr


def _overloaded(what: str, retry_after_s: float) -> Overloaded:
    seconds = max(1, math.ceil(retry_after_s))
    return Overloaded(f"{what}; try again in {seconds} s.", retry_after_s=seconds)


def _inference_failed(cause: Exception) -> InferenceFailed:
    """What the client learns; the cause, which may name files and devices, is in the log."""
    if isinstance(cause, OutOfMemory):
        failed: InferenceFailed = OutOfMemory("The predictor ran out of memory on this image alone.")
    else:
        failed = InferenceFailed("The predictor failed on this image; the cause is in the service's log.")
    failed.__cause__ = cause
    return failed
