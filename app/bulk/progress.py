"""The progress of a job: one line every few seconds, for a terminal and a log alike."""

import time
from collections.abc import Callable
from datetime import timedelta

from app.bulk.worker import Outcome

EVERY_S = 10.0


class Progress:
    """Share and time left are computed from the units' weights, known before any shard is opened."""

    def __init__(
        self,
        *,
        weight: int,
        done_weight: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """done_weight: of units done in earlier runs. say: receives each line."""
        self._weight = weight
        self._before = self._done = done_weight
        self._say = say
        self._clock = clock
        self._started = self._said = clock()
        self.pictures = self.failed = 0  # in this run

    def add(self, outcome: Outcome) -> None:
        self._done += outcome.ref.weight
        if outcome.record:
            self.pictures += outcome.record.pictures
            self.failed += len(outcome.record.failed)
        if self._clock() - self._said >= EVERY_S:
            self._said = self._clock()
            self._say(self.line())

    def line(self) -> str:
        seconds = max(1e-9, self._clock() - self._started)
        worked = self._done - self._before
        left = f"{timedelta(seconds=round(seconds * (self._weight - self._done) / worked))}" if worked else "?"
        share = 100 * self._done / max(1, self._weight)
        return (
            f"{share:.1f} %  {self.pictures} pictures at {self.pictures / seconds:.1f}/s, {self.failed} failed, "
            f"{left} left"
        )
