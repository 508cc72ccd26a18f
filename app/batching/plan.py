"""Which of the warmed batch sizes to run next: pad up or split, decided from measured times."""

from collections.abc import Mapping

WORTH_SPLITTING = 1.1  # warm-up times are noisy, and every call costs the event loop a turn


class BatchPlan:
    """For every number of waiting images the cheapest way to run them all.

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

    def first(self, waiting: int) -> int:
        """The batch size to run now with `waiting` images there."""
        return self._first[waiting]

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
