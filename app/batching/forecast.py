"""When admitted work will be done, and the rule of admission that follows from it.

A request is admitted if it and every queued request are predicted to meet their deadlines; when idle, always.
"""

import math
from collections.abc import Callable

from app.batching.in_flight import Batch, InFlight
from app.batching.plan import Plans
from app.batching.queue import BatchQueue
from app.errors import Overloaded

MAX_SLOWDOWN = 8  # one stalled batch must not make the next dozen predictions absurd


class Forecast:
    def __init__(self, plans: Plans, queue: BatchQueue, in_flight: InFlight, clock: Callable[[], float]) -> None:
        self._plans = plans
        self._queue = queue
        self._in_flight = in_flight
        self.now = clock
        self.slowdown = 1.0  # recent batches against their warm-up times
        self._afterwards_s = 0.0  # time that recent requests took after their last image was inferred

    def batch_ran(self, batch: Batch, seconds: float) -> None:
        self.slowdown += 0.2 * (min(seconds / batch.warm_s, MAX_SLOWDOWN) - self.slowdown)

    def request_ended(self, afterwards_s: float) -> None:
        self._afterwards_s += 0.1 * (afterwards_s - self._afterwards_s)

    def check(self, windows: int, *, deadline: float) -> None:
        """Raises Overloaded if a new request or a queued one is predicted to miss its deadline."""
        if not self._queue.left and not self._in_flight.windows:
            return  # even if the forecast is late: only a batch that runs can correct a wrong forecast
        now = self.now() + 2 * self._afterwards_s  # with the mean alone, half of the requests would be late
        if now + self.wait_s(self._queue.left + windows) <= min(deadline, self._queue.earliest_deadline):
            return  # everything is done by then
        wait_s = self.wait_s(self._queue.windows_until_done(windows))
        if now + wait_s > deadline:
            raise overloaded(f"The wait would be {wait_s:.2f} s, beyond the deadline", now + wait_s - deadline)
        for due, until_done in self._queue.delayed_by(windows):
            late_s = now + self.wait_s(until_done) - due
            if late_s > 0:
                raise overloaded("Requests that were here before would come too late", late_s)

    def wait_s(self, windows: int) -> float:
        """Predicted seconds until the running batches and this much more work are done."""
        plan = self._plans.trained
        if windows > plan.largest:  # the last of them shares its batch with later work
            windows = math.ceil(windows / plan.largest) * plan.largest
        own_s = plan.cost(windows) * self.slowdown
        last_s = min(own_s, plan.seconds(plan.largest) * self.slowdown)  # the last batch has one stream
        streams = self._in_flight.streams
        return (self._in_flight.left_s(self.now()) + own_s + (streams - 1) * last_s) / streams

    def next_batch_s(self) -> float:
        """Predicted seconds of the batch to start now; 0 if no stream is idle, or if it takes the whole queue."""
        if not self._in_flight.idle_streams or self._queue.windows <= self._plans.trained.largest:
            return 0
        image = self._queue.next_size
        plan = self._plans[image]
        return plan.seconds(plan.first(self._queue.waiting(image))) * self.slowdown


def overloaded(what: str, retry_after_s: float) -> Overloaded:
    seconds = max(1, math.ceil(retry_after_s))
    return Overloaded(f"{what}; try again in {seconds} s.", retry_after_s=seconds)
