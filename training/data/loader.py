"""Batches of a run, from any step on, prepared by worker processes.

    step -> epoch and place -> sample numbers of this rank -> worker: read, render, degrade -> Batch

Every batch follows from (seed, step) alone: to resume is to ask for batches from a step on, and the number
of workers changes nothing but the speed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from multiprocessing.process import parent_process

import cv2
import numpy as np

from training.data.samples import VALIDATION_EPOCH, Batch, Pair, Samples, collate
from training.errors import ConfigError, DataError

BATCHES_PER_WORKER = 3  # one in work and two ready: a slow sample (a long word) does not stop the step


@dataclass(frozen=True)
class Loader:
    """Endless batches of `samples`.

    batch_size: of this rank. rank, world: which of how many processes this is; together they see each
    sample once an epoch. What does not fill a last batch is left out: all ranks take the same number of
    steps, and batch statistics of a few pictures are noise. Another epoch leaves out other samples.
    Raises ConfigError if there is not even one batch.
    """

    samples: Samples
    batch_size: int
    seed: int
    shuffle: bool = True
    workers: int = 0
    rank: int = 0
    world: int = 1
    _start_method: str = field(default="spawn", repr=False)  # a fork would copy the framework's threads

    def __post_init__(self) -> None:
        if not self.steps_per_epoch:
            wanted = self.batch_size * self.world
            raise ConfigError(
                f"{len(self.samples)} training samples do not fill one batch of {wanted}; lower run.batch_size"
            )

    @property
    def steps_per_epoch(self) -> int:
        return len(self.samples) // (self.batch_size * self.world)

    def batches(self, start: int = 0) -> Generator[Batch, None, None]:
        """Batches of steps start, start + 1, ... without end; close the iterator to stop the workers."""
        if not self.workers:
            return (self.samples.batch(numbers, epoch=epoch) for epoch, numbers in map(self.plan, count(start)))
        return self._from_workers(start)

    def plan(self, step: int) -> tuple[int, list[int]]:
        """The epoch of a step, and the sample numbers that this rank takes in it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(len(self.samples), self.seed, epoch if self.shuffle else None)
        first = (place * self.world + self.rank) * self.batch_size
        return epoch, order[first : first + self.batch_size].tolist()

    def _from_workers(self, start: int) -> Generator[Batch, None, None]:
        pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context(self._start_method),
            initializer=_start_worker,
            initargs=(self.samples,),
        )
        waiting: deque[Future[Batch]] = deque()
        try:
            for step in count(start):
                epoch, numbers = self.plan(step)
                waiting.append(pool.submit(_work, numbers, epoch))
                if len(waiting) >= BATCHES_PER_WORKER * self.workers:
                    yield waiting.popleft().result()
        except BrokenProcessPool as exc:
            raise DataError("a process that prepares batches died; it may have run out of memory") from exc
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def validation_batches(samples: Samples, *, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """All samples, or the first `limit`, in order and the same every time; unreadable ones are left out."""
    pairs: list[Pair] = []
    for number in range(min(len(samples), limit or len(samples))):
        pair = samples.pair(number, epoch=VALIDATION_EPOCH)
        if pair is not None:
            pairs.append(pair)
        if len(pairs) == batch_size:
            yield collate(pairs, samples.spec)
            pairs = []
    if pairs:
        yield collate(pairs, samples.spec)


@lru_cache(maxsize=2)  # a step asks for the order of its epoch, thousands of times in a row
def _order(length: int, seed: int, epoch: int | None) -> np.ndarray:
    if epoch is None:
        return np.arange(length)
    return np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(length)


_samples: Samples | None = None  # of a worker process


def _start_worker(samples: Samples) -> None:
    global _samples
    _samples = samples
    cv2.setNumThreads(1)  # workers are the parallelism; threads within each would fight over the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training process's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A training process that is killed cannot stop its workers, and they would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(numbers: Sequence[int], epoch: int) -> Batch:
    assert _samples is not None, "the initializer ran"
    return _samples.batch(numbers, epoch=epoch)
