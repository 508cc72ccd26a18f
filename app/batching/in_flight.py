"""The batches that the predictor's streams run now, and for how long yet."""

from dataclasses import dataclass

from app.batching.queue import Item


@dataclass(eq=False)
class Batch:
    """What one stream runs. size: with its padding."""

    items: list[Item]
    size: int
    started_at: float
    expected_s: float


class Running:
    def __init__(self, *, streams: int) -> None:
        self.streams = streams
        self._batches: list[Batch] = []

    @property
    def items(self) -> list[Item]:
        return [item for batch in self._batches for item in batch.items]

    @property
    def windows(self) -> int:
        return sum(item.windows for item in self.items)

    @property
    def idle_streams(self) -> int:
        return self.streams - len(self._batches)

    def begin(self, batch: Batch) -> None:
        self._batches.append(batch)

    def end(self, batch: Batch) -> None:
        self._batches.remove(batch)

    def left_s(self, now: float) -> float:
        """Predicted seconds until each is done, added up."""
        return sum(max(0.0, batch.started_at + batch.expected_s - now) for batch in self._batches)

    def longest_s(self, now: float) -> float:
        """For how long the oldest has run."""
        return max((now - batch.started_at for batch in self._batches), default=0.0)
