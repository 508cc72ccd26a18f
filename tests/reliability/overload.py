"""More work arrives than the predictor can do: the batcher on virtual time, so that every figure is exact."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from app.batching.batcher import Batcher
from app.errors import DeadlineExceeded, Overloaded
from tests.app.batching.test_batcher import ask, batcher, now
from tests.app.fakes import FakeExecutor, in_virtual_time

# A batch takes 6 ms plus 3 ms an image, so larger batches are more efficient.
MIX = (*(1,) * 12, 3, 8, 16, 64)  # sizes of requests in images: words, lines, pages
SECONDS = {size: 0.006 + 0.003 * size for size in (1, 2, 4, 8, 16)}
CAPACITY_PER_S = 16 / SECONDS[16]


@dataclass
class Flood:
    """How the requests ended; goodput counts images that were finished within their deadlines."""

    seconds: float
    offered: int = 0
    refused: int = 0
    expired: int = 0
    mixed: int = 0
    waits_s: list[float] = field(default_factory=list)
    retries_after_s: list[int] = field(default_factory=list)
    images: int = 0
    finished: Counter[int] = field(default_factory=Counter)  # requests, by their number of images

    @property
    def goodput_per_s(self) -> float:
        return self.images / self.seconds

    def wait_s(self, share: float) -> float:
        return float(np.quantile(self.waits_s, share))

    async def ask(self, made: Batcher, tag: float, *, images: int, within_s: float) -> None:
        self.offered += 1
        since = now()
        try:
            results = await ask(made, *[tag + i / 128 for i in range(images)], within_s=within_s)
        except Overloaded as exc:
            self.refused += 1
            self.retries_after_s.append(exc.retry_after_s)
        except DeadlineExceeded:
            self.expired += 1
        else:
            self.waits_s.append(now() - since)
            if now() <= self.seconds:  # later results belong to no second that is counted
                self.images += images
                self.finished[images] += 1
            self.mixed += sum(float(a.sr[0, 0, 0]) != tag + i / 128 for i, a in enumerate(results))


def flood(
    times_capacity: float, *, sizes: Sequence[int] = (1,), within_s: float = 1, seconds: float = 20
) -> Flood:
    """Requests of these sizes at random (Poisson) moments; `times_capacity` 1 keeps the predictor just busy."""

    async def scenario() -> Flood:
        chance, seen = random.Random(0), Flood(seconds)
        per_s = times_capacity * CAPACITY_PER_S / (sum(sizes) / len(sizes))
        async with batcher(FakeExecutor(SECONDS), max_items=1024) as made, asyncio.TaskGroup() as group:
            while now() < seconds:
                images = chance.choice(sizes)
                group.create_task(seen.ask(made, seen.offered, images=images, within_s=within_s))
                await asyncio.sleep(chance.expovariate(per_s))
        return seen

    return in_virtual_time(scenario)


@cache  # several tests look at the same scenario
def share_with(*, singles: int, large: int, seconds: float = 20) -> tuple[Flood, Flood]:
    """`singles` clients send one image at a time, and `large` clients 64; each waits for its result."""

    async def scenario() -> tuple[Flood, Flood]:
        small, heavy = Flood(seconds), Flood(seconds)

        async def client(seen: Flood, images: int, number: int) -> None:
            await asyncio.sleep(number / 1000)
            while now() < seconds:
                await seen.ask(made, number, images=images, within_s=10)

        async with batcher(FakeExecutor(SECONDS), max_items=1024) as made, asyncio.TaskGroup() as group:
            for number in range(singles):
                group.create_task(client(small, 1, number))
            for number in range(large):
                group.create_task(client(heavy, 64, singles + number))
        return small, heavy

    return in_virtual_time(scenario)
