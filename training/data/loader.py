"""Batches of a run, from any step on, prepared by worker processes.

    step -> epoch and place -> sample numbers of this rank -> worker: read, render, degrade -> Batch

A batch depends on (seed, step) alone, so a run can resume at any step, and the number of workers changes only the
speed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count

import numpy as np

from training.data.parallel import ordered_map
from training.data.samples import VALIDATION_EPOCH, Batch, Pair, Samples, collate
from training.errors import ConfigError


@dataclass(frozen=True)
class Loader:
    """Endless batches of `samples`.

    batch_size: of this rank. rank, world: number of this process, and of processes; together they see each
    sample once an epoch. An incomplete last batch is left out: all ranks take the same number of steps, and batch
    statistics of a few images are noise. Every epoch leaves out other samples. Raises ConfigError if there is no
    full batch.
    """

    samples: Samples
    batch_size: int
    seed: int
    shuffle: bool = True
    workers: int = 0
    rank: int = 0
    world: int = 1

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
        plans = map(self.plan, count(start))
        return ordered_map(partial(_Batcher, self.samples), plans, workers=self.workers, chunk=1)

    def plan(self, step: int) -> tuple[int, list[int]]:
        """The epoch of a step, and the sample numbers that this rank takes in it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(len(self.samples), self.seed, epoch if self.shuffle else None)
        first = (place * self.world + self.rank) * self.batch_size
        return epoch, order[first : first + self.batch_size].tolist()


class _Batcher:
    """Worker of `ordered_map`: (epoch, sample numbers) -> their batch."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __call__(self, plan: tuple[int, list[int]]) -> Batch:
        epoch, numbers = plan
        return self._samples.batch(numbers, epoch=epoch)


def validation_batches(samples: Samples, *, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """All samples, or the first `limit`, in the same order every time; unreadable ones are left out."""
    pairs: list[Pair] = []
    for number in range(min(len(samples), limit or len(samples))):
        pair = samples.pair(number, epoch=VALIDATION_EPOCH)
        if pair is not None:
            pairs.append(pair)
        if len(pairs) == batch_size:
            yield collate(pairs)
            pairs = []
    if pairs:
        yield collate(pairs)


@lru_cache(maxsize=2)  # all steps of an epoch need the same order
def _order(length: int, seed: int, epoch: int | None) -> np.ndarray:
    if epoch is None:
        return np.arange(length)
    return np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(length)
