"""Work that gathers behind a running batch then runs in exactly the batches of the plan."""

import asyncio

import pytest

from tests.app.batching.test_batcher import SECONDS, ask, asking, batcher
from tests.app.fakes import FakeExecutor, in_virtual_time

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("waiting", "sizes"),
    [(1, [1]), (2, [2]), (3, [4]), (5, [8]), (8, [8]), (9, [8, 1]), (12, [8, 4]), (20, [8, 8, 4]), (64, [8] * 8)],
)
def test_images_that_gather_behind_a_batch_run_in_exactly_the_batches_of_the_plan(
    waiting: int, sizes: list[int]
) -> None:
    async def scenario() -> None:
        execute = FakeExecutor(SECONDS)
        async with batcher(execute, max_items=1 + waiting) as made:
            held = await asking(made, 1000)
            tasks = [await asking(made, tag) for tag in range(1, waiting + 1)]
            assert made.queued_windows == waiting
            assert len(execute.batches) == 1
            results = await asyncio.gather(*tasks)
            assert [float(result[0].sr[0, 0, 0]) for result in results] == list(range(1, waiting + 1))
            assert [len(batch) for batch in execute.batches[1:]] == sizes
            ran = [tag for batch in execute.batches[1:] for tag in batch if tag]
            assert ran == list(range(1, waiting + 1)), "each once, in order"
            await held
            assert (made.queued_windows, made.capacity.windows.used, made.capacity.decoded_bytes.used) == (0, 0, 0)
            assert await ask(made, 5)

    in_virtual_time(scenario)
