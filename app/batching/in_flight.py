"""The batches that the predictor's streams run now."""

from dataclasses import dataclass

import numpy as np

from app.batching.queue import InferenceResult, Item
from app.errors import InferenceFailed, OutOfMemory
from app.telemetry.tracing import BatchSpan
from model_store.pixels import Nchw


@dataclass(eq=False)
class Batch:
    """The work of one stream.

    size: the number of images with the padding. warm_s: the time of such a batch at warm-up.
    """

    items: list[Item]
    size: int
    started_at: float
    warm_s: float
    expected_s: float

    @property
    def windows(self) -> int:
        """With the padding."""
        return self.size * self.items[0].windows

    @property
    def waits_s(self) -> list[float]:
        """How long each image waited in the queue."""
        return [self.started_at - item.enqueued_at for item in self.items]

    def stack(self) -> Nchw:
        """(size, 3, h, w): the images, then zeros where the batch is padded."""
        lr = np.zeros((self.size, *self.items[0].lr.shape), np.float32)
        for row, item in zip(lr, self.items, strict=False):
            row[:] = item.lr
        return lr

    def finish(self, sr: Nchw, *, seconds: float, traced: BatchSpan) -> None:
        """Give every image its row; the rows of the padding are dropped."""
        for item, wait_s, row in zip(self.items, self.waits_s, sr, strict=False):
            if not item.result.done():
                item.result.set_result(InferenceResult(row, wait_s, seconds, traced))


class InFlight:
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
        """The sum over all batches of the predicted seconds until they end."""
        return sum(max(0.0, batch.started_at + batch.expected_s - now) for batch in self._batches)

    def longest_s(self, now: float) -> float:
        """For how long the oldest batch has run."""
        return max((now - batch.started_at for batch in self._batches), default=0.0)


def inference_failed(cause: Exception) -> InferenceFailed:
    """The client's error; the cause, which may name files and devices, is in the log."""
    if isinstance(cause, OutOfMemory):
        failed: InferenceFailed = OutOfMemory("The predictor ran out of memory on this image alone.")
    else:
        failed = InferenceFailed("The predictor failed on this image; the cause is in the service's log.")
    failed.__cause__ = cause
    return failed
