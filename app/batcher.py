"""Dynamic micro-batching: many requests, one predictor. Knows nothing of HTTP.

    admit (all of a request's images or none) -> queue -> drop the gone -> batch -> execute -> answers
      |  refused: Overloaded, RequestTooLarge, NotReady     |  fails: each image once more, alone

Work-conserving: an idle stream of the predictor runs at once what is there; while all are busy, the queue builds,
and the next batch takes from it what the plan finds cheapest. Nothing polls: the loop sleeps until an image
arrives, a delay ends or a batch returns.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from app.batch_plan import BatchPlan
from app.batch_queue import EXPIRED, BatchQueue, Inferred, Item
from app.errors import DeadlineExceeded, InferenceFailed, NotReady, OutOfMemory, Overloaded
from app.room import Room
from app.running import Batch, Running
from app.tracing import OFF, Tracing
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
        batch_seconds: Mapping[int, float],
        room: Room,
        observer: Observer,
        streams: int = 1,
        max_delay_s: float = 0,  # work-conserving: an idle predictor never waits
        hang_s: float = math.inf,
        tracing: Tracing = OFF,
        clock: Callable[[], float] = time.monotonic,  # uvloop's own time() counts in whole milliseconds
    ) -> None:
        """execute: runs one batch whose size is a key of `batch_seconds` (which must include 1).

        streams: batches that it runs at once, as many as ran when `batch_seconds` were measured.
        hang_s: a batch that takes longer counts as hanging.
        """
        self._execute = execute
        self._clock = clock
        self.room = room
        self._observer = observer
        self._max_delay_s = max_delay_s
        self._hang_s = hang_s
        self._tracing = tracing
        self._batch_seconds = batch_seconds
        self._plan = BatchPlan(batch_seconds, max_items=room.max_items)
        self._oom_retry_s = OOM_RETRY_S
        self._oom_retry_at = math.inf
        self._queue = BatchQueue(largest=max(batch_seconds))
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
    def queued_items(self) -> int:
        return len(self._queue)

    def admit(self, *, items: int, nbytes: int, deadline: float) -> "Admission":
        """Reserve room for a whole request, or refuse it whole. Use as a context manager.

        deadline: on the batcher's clock. Raises NotReady, RequestTooLarge (it would never fit) or
        Overloaded with the seconds after which it is worth trying again.
        """
        self.check_open()
        now = self._clock()
        try:
            self._check_room(items, nbytes, now=now)
            if deadline <= now:
                raise DeadlineExceeded(EXPIRED)
            self._check_waits(items, now=now, deadline=deadline)
        except Overloaded as exc:
            self._queue.refused(items, until=now + exc.retry_after_s + RETURN_S)
            raise
        return Admission(self, items=items, nbytes=nbytes, deadline=deadline)

    def _check_room(self, items: int, nbytes: int, *, now: float) -> None:
        if not self.room.fits(items=items, nbytes=nbytes):
            too_many = max(0, self.room.items + items - self.room.max_items)
            raise _overloaded("The queue is full", self._wait_s(max(0, too_many - len(self._running.items))))
        too_many = self._queue.beyond_its_half(items, of=self.room.max_items, now=now)
        if too_many > 0:
            raise _overloaded(
                "The queue's other half is kept for requests of another size", self._wait_s(too_many)
            )

    def _check_waits(self, items: int, *, now: float, deadline: float) -> None:
        """Raises Overloaded where the request would come too late, or make one that is inside come too late."""
        if not self._queue.left and not self._running.items:
            return  # whatever the prediction: only a batch that runs can mend a wrong one
        now += 2 * self._afterwards_s  # or half of them would be late
        wait_s = self._wait_s(self._queue.until_done(items, now=now))
        if now + wait_s > deadline:
            raise _overloaded(f"The wait would be {wait_s:.2f} s, beyond the deadline", now + wait_s - deadline)
        if now + self._wait_s(self._queue.left + items) <= self._queue.earliest_deadline:
            return  # not even the last of all
        for due, until_done in self._queue.delayed_by(items):
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

    def check_room(self) -> None:
        """Raises NotReady or Overloaded when not even one image would be admitted; asked before a body is read."""
        self.check_open()
        if self.room.is_full:
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
                if wait_s <= 0 or len(self._queue) >= self._plan.sizes[-1]:
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
            self._hold_at_most(2 * self._plan.sizes[-1])
        share = math.ceil(len(self._queue) / self._running.idle_streams)
        items = self._queue.take(self._plan.first(share))
        size = self._plan.smallest_for(len(items))
        batch = Batch(items, size, self._clock(), expected_s=self._plan.seconds(size) * self._slowdown)
        self._running.begin(batch)
        return batch

    def _hold_at_most(self, size: int) -> None:
        """Batches of `size` images and fewer from now on; while some are larger, they are tried again later."""
        fitting = {s: seconds for s, seconds in self._batch_seconds.items() if s <= size}
        self._plan = BatchPlan(fitting, max_items=self.room.max_items)
        all_fit = len(fitting) == len(self._batch_seconds)
        self._oom_retry_at = math.inf if all_fit else self._clock() + self._oom_retry_s

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
            ratio = min(seconds / self._batch_seconds[size], MAX_SLOWDOWN)
            self._slowdown += 0.2 * (ratio - self._slowdown)
            waits_s = [batch.started_at - item.enqueued_at for item in items]
            self._observer.batch_ran(size=size, items=len(items), seconds=seconds, waits_s=waits_s)
            for item, wait_s, row in zip(items, waits_s, sr, strict=False):  # the padding has no asker
                if not item.answer.done():
                    item.answer.set_result(Inferred(row, queue_s=wait_s, inference_s=seconds, batch=traced))
        self._running.end(batch)

    def _recover(self, items: list[Item], *, size: int, exc: Exception) -> None:
        """Out of memory: smaller batches from now on. Anything else: each image once more, alone."""
        if isinstance(exc, OutOfMemory) and size > 1:
            self._hold_at_most(size // 2)
            log.warning("out of memory: batches of %d for %.0f s", self._plan.sizes[-1], self._oom_retry_s)
            self._oom_retry_s *= 2  # it may not be a passing shortage
            self._queue.push_back(items, alone=False)
        elif len(items) > 1:
            self._queue.push_back(items, alone=True)
        elif not items[0].answer.done():
            items[0].answer.set_exception(_inference_failed(exc))

    def _next_batch_s(self) -> float:
        """How long the next batch should take; 0 while one that fits the queue alone has yet to show it."""
        if len(self._queue) <= self._plan.sizes[-1]:
            return 0
        return self._plan.seconds(self._plan.first(len(self._queue))) * self._slowdown

    def _wait_s(self, items: int) -> float:
        """Predicted seconds until the running batches and `items` more images are done."""
        largest = self._plan.sizes[-1]
        if items > largest:  # the last of them shares its batch with whoever comes after
            items = math.ceil(items / largest) * largest
        own_s = self._plan.cost(items) * self._slowdown
        last_s = min(own_s, self._plan.seconds(largest) * self._slowdown)  # the last batch has one stream
        streams = self._running.streams
        return (self._running.left_s(self._clock()) + own_s + (streams - 1) * last_s) / streams


class Admission:
    """One admitted request's room in the service and place in the queue, given back when the context ends."""

    def __init__(self, batcher: Batcher, *, items: int, nbytes: int, deadline: float) -> None:
        self._batcher = batcher
        self._items = items
        self._nbytes = nbytes
        self._unqueued = items  # still being decoded
        self._inferred_at = 0.0
        self.deadline = deadline

    def __enter__(self) -> Self:
        batcher = self._batcher
        batcher.room.take(items=self._items, nbytes=self._nbytes)
        self._place = batcher._queue.enter(self._items, deadline=self.deadline)
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
        batcher.room.give_back(items=self._items, nbytes=self._nbytes)
        batcher._queue.leave(self._place)
        batcher._admissions -= 1
        if not batcher._admissions:
            batcher._idle.set()

    def release(self, items: int) -> None:
        """Give back the room of images that will not come after all."""
        assert 0 <= items <= self._unqueued
        self._items -= items
        self._unqueued -= items
        self._place.count(-items)
        self._batcher.room.give_back(items=items)

    async def infer(self, lr: Nchw) -> list[Inferred]:
        """LR float32 (n, 3, h, w), n of the images admitted -> their answers, in order.

        Raises DeadlineExceeded at the deadline, InferenceFailed, or NotReady if the batcher stops.
        Cancelling the call takes the images out of the queue.
        """
        assert len(lr) <= self._unqueued, "more images than were admitted"
        batcher = self._batcher
        if batcher._stopped:
            raise NotReady(batcher._closed_because)
        loop = asyncio.get_running_loop()
        now = batcher._clock()
        items = [Item(row, loop.create_future(), now, self._place, batcher._queue.number()) for row in lr]
        batcher._queue.push(items)
        self._unqueued -= len(items)
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
