"""Which of the warmed batch sizes to run next: pad up or split, decided from measured times."""

import math
from collections.abc import Mapping
from math import prod

from model_store.pixels import Size

TABLE_BATCHES = 8  # full batches of waiting images for which a plan is worked out; beyond, in proportion
WORTH_SPLITTING = 1.1  # warm-up times are noisy, and every call costs the event loop a turn
OOM_RETRY_S = 60.0  # after running out of memory; doubled each time the larger size fails again


class BatchPlan:
    """For every number of waiting images of one size the cheapest way to run them all.

    seconds: measured time of one batch, by batch size. With {1: 10 ms, 4: 20 ms}, three images run as
    one padded batch of 4 (20 ms), not as three singles (30 ms); five run as 4 and then 1.
    """

    def __init__(self, seconds: Mapping[int, float], *, max_items: int) -> None:
        self._seconds = seconds
        self.sizes = sorted(seconds)
        self._cost = [0.0]
        self._first = [0]
        for waiting in range(1, max_items + 1):
            totals = {size: seconds[size] + self._cost[max(0, waiting - size)] for size in self.sizes}
            cheapest = min(totals.values())
            # Never more padding than the next size up: a larger one could only repeat its work.
            enough = next((size for size in self.sizes if size >= waiting), self.sizes[-1])
            fit = [s for s in self.sizes if s <= enough and totals[s] <= cheapest * WORTH_SPLITTING]
            self._cost.append(cheapest)
            self._first.append(max(fit, default=min(totals, key=totals.__getitem__)))

    @property
    def largest(self) -> int:
        return self.sizes[-1]

    def first(self, waiting: int) -> int:
        """The batch size to run now if `waiting` images wait."""
        return self._first[min(waiting, len(self._first) - 1)]

    def smallest_for(self, items: int) -> int:
        """The smallest size that takes `items` images."""
        return next(size for size in self.sizes if size >= items)

    def seconds(self, size: int) -> float:
        return self._seconds[size]

    def cost(self, waiting: int) -> float:
        """Seconds to run `waiting` images, all batches together; beyond the table, in proportion."""
        assert waiting >= 0
        last = len(self._cost) - 1
        return self._cost[waiting] if waiting <= last else self._cost[last] * waiting / last


class Plans:
    """The batch plan of every image size. Batches become smaller when the predictor runs out of memory.

    windows: the work of one image, by its size; an image of the trained size is one window.
    """

    def __init__(self, batch_seconds: Mapping[Size, Mapping[int, float]], *, max_windows: int) -> None:
        """batch_seconds: measured, by image size and by the number of images, which includes 1.

        The first size is the trained one. max_windows: the most that ever waits.
        """
        trained = next(iter(batch_seconds))
        self.windows = {size: math.ceil(prod(size) / prod(trained)) for size in batch_seconds}
        self.full_batch = max(batch_seconds[trained])  # windows of the largest batch while memory suffices
        self._batch_seconds = batch_seconds
        self._trained = trained
        self._max_windows = max_windows
        self._oom_retry_s = OOM_RETRY_S
        self._limit_to(self.full_batch)
        self._retry_at = math.inf

    def __getitem__(self, size: Size) -> BatchPlan:
        return self._plans[size]

    @property
    def trained(self) -> BatchPlan:
        """The plan for images of one window."""
        return self._plans[self._trained]

    def halve(self, windows: int, *, now: float) -> str:
        """A batch of this work ran out of memory. Returns the new limit in words."""
        self._limit_to(windows // 2)
        self._retry_at = now + self._oom_retry_s
        limit = f"batches of {self._limit} windows for {self._oom_retry_s:.0f} s"
        self._oom_retry_s *= 2  # the shortage may last
        return limit

    def retry_larger(self, *, now: float) -> None:
        """Allow batches of twice the work if memory ran out long enough ago."""
        if now >= self._retry_at:
            self._limit_to(2 * self._limit)
            self._retry_at = math.inf if self._limit >= self.full_batch else now + self._oom_retry_s

    def _limit_to(self, windows: int) -> None:
        self._limit = windows
        self._plans = {
            size: BatchPlan(
                {n: s for n, s in seconds.items() if n == 1 or n * self.windows[size] <= windows},
                max_items=min(self._max_windows, TABLE_BATCHES * self.full_batch),
            )
            for size, seconds in self._batch_seconds.items()
        }
