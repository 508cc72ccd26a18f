"""The queue in front of the predictor: who is next.

Fair: requests take turns. A request of many images is spread over TURNS rounds of the queue, so a single image
that comes after it waits for a part of it, and it waits for no more than what comes during those rounds.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.errors import DeadlineExceeded

Chw = npt.NDArray[np.float32]  # (3, H, W)
EXPIRED = "The deadline passed before the image was ready."
TURNS = 4  # a request's share of the queue is not its size: 64 images ahead of one are 16 of its wait


@dataclass(frozen=True)
class Inferred:
    """One image's answer, with where its time went."""

    sr: Chw
    queue_s: float
    inference_s: float
    batch: object = None  # what tracing knows it by


@dataclass(eq=False)
class Item:
    """One image on its way."""

    lr: Chw
    answer: "asyncio.Future[Inferred]"
    enqueued_at: float
    deadline: float
    turn: int
    number: int  # in order of arrival
    alone: bool = False  # its batch failed: once more, by itself

    def __lt__(self, other: "Item") -> bool:
        return (not self.alone, self.turn, self.number) < (not other.alone, other.turn, other.number)


def turns(items: int) -> int:
    """In how many turns a request of so many images is served."""
    return min(items, TURNS)


class BatchQueue:
    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._numbers = itertools.count()
        self.turn = 0  # of the newest image that was taken

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Item]:
        """In no order."""
        return iter(self._heap)

    @property
    def next_goes_alone(self) -> bool:
        return self._heap[0].alone

    @property
    def oldest_at(self) -> float:
        """When the image that waits longest came."""
        return min(item.enqueued_at for item in self._heap)

    def ahead_of(self, items: int) -> int:
        """How many images would be served before the last of a new request's `items` is."""
        last_turn = self.turn + turns(items)
        return sum(item.turn <= last_turn for item in self._heap)

    def number(self) -> int:
        """The next image's place in the order of arrival."""
        return next(self._numbers)

    def push(self, items: Sequence[Item]) -> None:
        for item in items:
            heapq.heappush(self._heap, item)

    def take(self, size: int) -> list[Item]:
        """The next images, `size` or as many as there are."""
        items = [heapq.heappop(self._heap) for _ in range(min(size, len(self._heap)))]
        self.turn = max(self.turn, *(item.turn for item in items))
        return items

    def drop_the_gone(self, *, ends: float) -> None:
        """Images leave that were cancelled or whose deadline comes no later than `ends`."""
        for item in self._heap:
            if item.deadline <= ends and not item.answer.done():
                item.answer.set_exception(DeadlineExceeded(EXPIRED))
        if any(item.answer.done() for item in self._heap):
            self._heap = [item for item in self._heap if not item.answer.done()]
            heapq.heapify(self._heap)
