"""The batcher on virtual time: every duration below is exact, and no test waits."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import numpy as np
import pytest

from app.batching.batcher import Batcher
from app.batching.capacity import Capacity
from app.batching.queue import InferenceResult
from app.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded, RequestTooLarge
from model_store.pixels import Chw, Nchw, Size
from tests.app.fakes import FakeExecutor, NoObserver, virtual_time

SECONDS = {1: 1.0, 2: 1.2, 4: 1.6, 8: 2.4}
NEVER = 10_000.0
IMAGE = (2, 4)  # of one window


@asynccontextmanager
async def batcher(
    execute: FakeExecutor,
    *,
    max_items: int = 64,
    max_bytes: int = 10**9,
    max_delay_s: float = 0,
    hang_s: float = math.inf,
    streams: int = 1,
    larger: Mapping[Size, Mapping[int, float]] = MappingProxyType({}),
) -> AsyncIterator[Batcher]:
    made = Batcher(
        execute,
        batch_seconds={IMAGE: execute.seconds, **larger},
        capacity=Capacity(
            max_windows=max_items, max_decoded_bytes=max_bytes, max_body_bytes=0, max_unsent_bytes=0
        ),
        observer=NoObserver(),
        max_delay_s=max_delay_s,
        hang_s=hang_s,
        streams=streams,
        clock=now,
    )
    loop = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        loop.cancel()
        await asyncio.wait([loop])


def images(*values: float) -> Nchw:
    return np.stack([np.full((3, 2, 4), value, np.float32) for value in values])


def now() -> float:
    return asyncio.get_running_loop().time()


async def ask(made: Batcher, *values: float, within_s: float = NEVER) -> list[InferenceResult]:
    deadline = now() + within_s
    with made.admit(windows=len(values), nbytes=1, deadline=deadline) as admission:
        return await admission.infer(images(*values))


async def asking(made: Batcher, *values: float, within_s: float = NEVER) -> "asyncio.Task[list[InferenceResult]]":
    """A request that has been admitted and queued, and taken if a stream was free."""
    task = asyncio.create_task(ask(made, *values, within_s=within_s))
    for _ in range(2):  # the request's turn, and the stream's
        await asyncio.sleep(0)
    return task


@virtual_time
async def test_an_idle_executor_runs_a_single_image_at_once() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        (result,) = await ask(made, 7)
        assert execute.started_at == [pytest.approx(0)]
        assert result.queue_s == pytest.approx(0)
        assert result.inference_s == pytest.approx(1.0)
        assert (result.sr == 7).all()
        assert result.sr.shape == (3, 4, 8)


@virtual_time
async def test_images_that_arrive_while_a_batch_runs_share_the_next_one() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        first = await asking(made, 1)
        await asyncio.sleep(0.5)
        others = [await asking(made, value) for value in (2, 3, 4, 5)]
        results = await asyncio.gather(first, *others)
        assert execute.batches == [[1], [2, 3, 4, 5]]
        assert [float(a[0].sr[0, 0, 0]) for a in results] == [1, 2, 3, 4, 5]
        assert results[1][0].queue_s == pytest.approx(0.5)


@virtual_time
async def test_only_listed_sizes_run_and_a_gap_is_padded_when_that_is_cheaper() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        results = await ask(made, 1, 2, 3)
        assert execute.batches == [[1, 2, 3, 0]]
        assert [float(a.sr[0, 0, 0]) for a in results] == [1, 2, 3]


@virtual_time
async def test_the_delay_counts_from_the_oldest_image() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute, max_delay_s=3) as made:
        first = await asking(made, 1)
        await asyncio.sleep(2)
        second = await asking(made, 2)
        await asyncio.gather(first, second)
        assert execute.started_at == [pytest.approx(3)]
        assert execute.batches == [[1, 2]]


@virtual_time
async def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute, max_delay_s=100) as made:
        await ask(made, *range(1, 9))
        assert execute.started_at == [pytest.approx(0)]


@virtual_time
async def test_admission_is_all_or_none() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute, max_items=8) as made:
        first = await asking(made, *range(1, 7))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded) as refused:
            made.admit(windows=3, nbytes=1, deadline=NEVER)
        assert refused.value.retry_after_s == 3  # the running batch of 8 has 2.3 s left, then both fit
        assert made.capacity.windows.used == 6
        second = await asking(made, 7, 8)
        assert len(await first) == 6
        assert len(await second) == 2
        assert made.capacity.windows.used == 0


@virtual_time
async def test_the_byte_budget_refuses_too() -> None:
    async with batcher(FakeExecutor(SECONDS), max_bytes=100) as made:
        with made.admit(windows=1, nbytes=60, deadline=NEVER):
            with pytest.raises(Overloaded):
                made.admit(windows=1, nbytes=60, deadline=NEVER)
            assert made.capacity.decoded_bytes.used == 60
        assert made.capacity.decoded_bytes.used == 0


@pytest.mark.parametrize(("items", "nbytes"), [(9, 1), (1, 101)])
@virtual_time
async def test_a_request_that_can_never_fit_is_refused_without_a_retry_after(items: int, nbytes: int) -> None:
    async with batcher(FakeExecutor(SECONDS), max_items=8, max_bytes=100) as made:
        with pytest.raises(RequestTooLarge, match="at most 8 windows and 100 bytes"):
            made.admit(windows=items, nbytes=nbytes, deadline=NEVER)


@virtual_time
async def test_a_wait_beyond_the_deadline_is_refused_with_the_excess() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        running = [await asking(made, value) for value in range(1, 25)]  # 1, then 8 + 8 + 8 (one padded)
        with pytest.raises(Overloaded) as refused:
            made.admit(windows=1, nbytes=1, deadline=now() + 2)
        # 1 s runs, 24 images in three batches of 8: 8.2 s, 6.2 s more than allowed.
        assert refused.value.retry_after_s == 7
        await asyncio.gather(*running)
        assert now() == pytest.approx(1 + 3 * 2.4)


@virtual_time
async def test_a_deadline_in_the_queue_is_kept_to_the_moment_and_saves_the_work() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        execute.seconds = {1: 5.0}  # five times slower than at warm-up
        first = await asking(made, 1)
        late = await asking(made, 2, within_s=2.5)
        with pytest.raises(DeadlineExceeded):
            await late
        assert now() == pytest.approx(2.5)
        await first
        await ask(made, 3)
        assert execute.batches == [[1], [3]]


@virtual_time
async def test_a_cancelled_request_leaves_the_queue() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        first, second, third = [await asking(made, value) for value in (1, 2, 3)]
        await asyncio.sleep(0.5)
        second.cancel()
        await asyncio.gather(first, third)
        assert execute.batches == [[1], [3]]
        assert made.capacity.windows.used == 0
        assert second.cancelled()


@virtual_time
async def test_cancelling_a_running_image_does_not_disturb_its_batch() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        first = await asking(made, 1)
        await asyncio.sleep(0.1)
        second, third = [await asking(made, value) for value in (2, 3)]
        await asyncio.sleep(1.0)
        second.cancel()
        await first
        assert float((await third)[0].sr[0, 0, 0]) == 3


@virtual_time
async def test_one_bad_image_spares_its_batch() -> None:
    execute = FakeExecutor(SECONDS)
    execute.fail_on = 3
    async with batcher(execute) as made:
        running = [await asking(made, value) for value in (9, 2, 3, 4)]
        results = await asyncio.gather(*running, return_exceptions=True)
        assert isinstance(results[2], InferenceFailed)
        assert [float(a[0].sr[0, 0, 0]) for i, a in enumerate(results) if i != 2] == [9, 2, 4]  # type: ignore[index]
        assert execute.batches == [[9], [2, 3, 4, 0], [2], [3], [4]]


@virtual_time
async def test_out_of_memory_halves_the_batches_and_every_image_has_its_result() -> None:
    execute = FakeExecutor(SECONDS)
    execute.out_of_memory_from = 4
    async with batcher(execute) as made:
        results = await ask(made, *range(1, 9))
        assert [float(a.sr[0, 0, 0]) for a in results] == list(range(1, 9))
        assert [len(batch) for batch in execute.batches] == [8, 4, 2, 2, 2, 2]


@virtual_time
async def test_out_of_memory_with_a_single_image_fails_that_image() -> None:
    execute = FakeExecutor({1: 1.0})
    execute.out_of_memory_from = 1
    async with batcher(execute) as made:
        with pytest.raises(InferenceFailed):
            await ask(made, 1)
        assert execute.batches == [[1]]


@virtual_time
async def test_an_unexpected_exception_becomes_a_failed_inference_and_the_loop_lives() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        execute.seconds = {}  # a KeyError inside the executor
        with pytest.raises(InferenceFailed):
            await ask(made, 1)
        execute.seconds = {1: 1.0}
        assert await ask(made, 2)


@virtual_time
async def test_closing_refuses_new_requests_and_finishes_admitted_ones() -> None:
    async with batcher(FakeExecutor(SECONDS)) as made:
        inside = await asking(made, 1)
        made.close("shutting down")
        with pytest.raises(NotReady, match="shutting down"):
            made.admit(windows=1, nbytes=1, deadline=NEVER)
        await made.idle()
        assert inside.done()
        assert now() == pytest.approx(1.0)


@virtual_time
async def test_stopping_fails_every_waiting_request() -> None:
    async with batcher(FakeExecutor({1: 1.0})) as made:
        waiting = [await asking(made, value) for value in (1, 2)]
        await asyncio.sleep(0.5)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [NotReady, NotReady]


@virtual_time
async def test_predictions_follow_a_machine_that_has_become_slower() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        execute.seconds = {1: 3.0}
        for value in range(20):
            await ask(made, value)
        await asking(made, 20)
        with pytest.raises(Overloaded):
            made.admit(windows=1, nbytes=1, deadline=now() + 5)
        made.admit(windows=1, nbytes=1, deadline=now() + 6.1)


@virtual_time
async def test_one_stalled_batch_does_not_refuse_the_next_requests() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        execute.seconds = {1: 1000.0}
        await ask(made, 1)
        execute.seconds = {1: 1.0}
        await asking(made, 2)
        made.admit(windows=1, nbytes=1, deadline=now() + 5)


@virtual_time
async def test_an_idle_predictor_admits_a_request_whatever_the_prediction() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        execute.seconds = {1: 3.0}
        for value in range(20):
            await ask(made, value)
        execute.seconds = {1: 1.0}
        assert await ask(made, 20, within_s=1.5)


@virtual_time
async def test_a_request_that_comes_after_its_deadline_fails_with_deadline_exceeded() -> None:
    async with batcher(FakeExecutor(SECONDS)) as made:
        with pytest.raises(DeadlineExceeded):
            made.admit(windows=1, nbytes=1, deadline=now())


@virtual_time
async def test_an_image_decoded_after_the_stop_is_refused_and_does_not_hang() -> None:
    async with batcher(FakeExecutor(SECONDS)) as made:
        admission = made.admit(windows=1, nbytes=1, deadline=NEVER)
        await asyncio.sleep(0)
    with admission, pytest.raises(NotReady):
        await admission.infer(images(1))


@virtual_time
async def test_a_single_image_waits_for_one_image_of_the_large_request_before_it() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        large = await asking(made, *range(100, 116))
        await asyncio.sleep(0.5)  # the first of sixteen is running
        singles = [await asking(made, value) for value in (7, 8)]
        await asyncio.gather(*singles)
        assert execute.batches[:5] == [[100], [101], [7], [8], [102]]
        await large


@virtual_time
async def test_a_stream_of_single_images_leaves_a_large_request_one_image_in_every_round() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute, max_items=1000) as made:
        singles = [await asking(made, value) for value in range(8)]
        large = await asking(made, *range(100, 108))
        for value in range(200):
            if large.done():
                break
            singles.append(await asking(made, value))
            await asyncio.sleep(1.0)
        assert large.done()
        assert now() <= 1 + sum(range(9, 17))  # eight rounds; each has one single image more
        await asyncio.gather(*singles)


@virtual_time
async def test_single_images_are_refused_before_a_large_request_becomes_late() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute, max_items=1000) as made:
        singles = [await asking(made, value) for value in range(8)]
        large = await asking(made, *range(100, 108), within_s=30.5)
        while not large.done():
            singles.append(await asking(made, 1))
            await asyncio.sleep(1.0)
        assert len(await large) == 8
        endings = await asyncio.gather(*singles, return_exceptions=True)
        assert {type(ending) for ending in endings} == {list, Overloaded}
        assert {str(ending)[:25] for ending in endings if isinstance(ending, Overloaded)} == {
            "Requests that were here b"
        }


@pytest.mark.parametrize("streams", [1, 3])
@virtual_time
async def test_every_image_has_its_own_result_in_any_mix_of_requests(streams: int) -> None:
    draw = np.random.default_rng(0)
    async with batcher(FakeExecutor(SECONDS), max_items=1000, streams=streams) as made:
        asked, value = [], 0
        for count in draw.integers(1, 20, 40).tolist():
            values = list(range(value, value + count))
            asked.append((values, await asking(made, *values)))
            value += count
            await asyncio.sleep(float(draw.uniform(0, 2)))
        for values, task in asked:
            assert [float(result.sr[0, 0, 0]) for result in await task] == values
        assert made.capacity.windows.used == made.queued_windows == 0


@virtual_time
async def test_larger_batches_are_tried_again_some_time_after_memory_ran_out() -> None:
    execute = FakeExecutor(SECONDS)
    execute.out_of_memory_from = 8
    async with batcher(execute, max_items=100) as made:
        await ask(made, *range(8))
        assert [len(batch) for batch in execute.batches] == [8, 4, 4]
        execute.out_of_memory_from = 10**9
        await ask(made, *range(8))
        assert max(len(batch) for batch in execute.batches[3:]) == 4, "too early to try"
        await asyncio.sleep(61)
        await ask(made, *range(8))
        assert len(execute.batches[-1]) == 8


@virtual_time
async def test_memory_that_stays_short_is_tried_less_and_less_often() -> None:
    execute = FakeExecutor(SECONDS)
    execute.out_of_memory_from = 8
    async with batcher(execute, max_items=100) as made:
        tried = []
        for _ in range(600):
            before = len(execute.batches)
            await ask(made, *range(8))
            tried += [now() for batch in execute.batches[before:] if len(batch) == 8]
        gaps = np.diff(tried)
        assert (gaps[1:] > 1.8 * gaps[:-1]).all()


@virtual_time
async def test_a_predictor_that_hangs_refuses_new_requests_until_its_batch_ends() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute, hang_s=10) as made:
        execute.seconds = {1: 100.0}
        held = await asking(made, 1)
        await asyncio.sleep(9)
        assert made.is_open
        await asyncio.sleep(3)
        assert made.hangs_for_s == pytest.approx(2)
        with pytest.raises(NotReady, match="has not answered for 12 s"):
            made.admit(windows=1, nbytes=1, deadline=NEVER)
        execute.seconds = {1: 1.0}
        await held
        assert made.is_open
        await ask(made, 2)


@virtual_time
async def test_cancelled_and_expired_requests_leave_the_queue_while_a_batch_hangs() -> None:
    class Hanging(FakeExecutor):
        async def __call__(self, lr: Nchw) -> Nchw:
            return await asyncio.Future()

    execute = Hanging({1: 0.1})
    async with batcher(execute) as made:
        stuck = await asking(made, 1)
        late = await asking(made, 2, 3, within_s=2)
        left = await asking(made, 4, 5)
        await asyncio.sleep(1)
        left.cancel()
        await asyncio.wait([left])
        assert made.queued_windows == 2
        await asyncio.wait([late])
        assert isinstance(late.exception(), DeadlineExceeded)
        assert made.queued_windows == 0
        assert not stuck.done()
        stuck.cancel()


@virtual_time
async def test_released_windows_are_free_at_once() -> None:
    async with batcher(FakeExecutor(SECONDS), max_items=4) as made:
        with made.admit(windows=4, nbytes=1, deadline=NEVER) as admission:
            with pytest.raises(Overloaded):
                made.admit(windows=1, nbytes=1, deadline=NEVER)
            admission.release(3)
            assert made.capacity.windows.used == 1
            with made.admit(windows=3, nbytes=1, deadline=NEVER) as other:
                await other.infer(images(1, 2, 3))
            admission.release(1)
            draining = asyncio.create_task(made.idle())
            await asyncio.sleep(0)
            assert not draining.done(), "a request without images is still to be answered"
        await draining


@virtual_time
async def test_a_wait_is_predicted_for_a_full_batch() -> None:
    async with batcher(FakeExecutor(SECONDS)) as made:
        admitted = [await asking(made, value) for value in range(9)]  # 1 runs, 8 wait: 1.0 s + 2.4 s
        with pytest.raises(Overloaded, match=r"5\.80 s"):  # and not 2.4 s + 1.0 s: its batch will fill up
            await ask(made, 9, within_s=5)
        await asyncio.gather(*admitted)


@virtual_time
async def test_a_request_that_would_make_a_queued_one_late_is_refused() -> None:
    async with batcher(FakeExecutor(SECONDS)) as made:
        first = await asking(made, 0)
        hasty = await asking(made, 1, within_s=3)  # 1.0 s and, with up to three others, 1.6 s
        others = [await asking(made, value) for value in (2, 3, 4)]
        with pytest.raises(Overloaded, match="here before"):
            await ask(made, 5)
        await asyncio.gather(first, hasty, *others)
        assert now() == pytest.approx(2.6)


@virtual_time
async def test_a_large_request_is_not_made_late_by_small_ones_and_they_not_by_it() -> None:
    async with batcher(FakeExecutor({1: 1.0}), max_items=100) as made:
        large = await asking(made, *range(100, 108), within_s=10.5)
        small = [await asking(made, value, within_s=5) for value in (1, 2)]
        with pytest.raises(Overloaded, match="here before"):
            await ask(made, 3)
        with pytest.raises(Overloaded, match="beyond the deadline"):
            await ask(made, *range(8), within_s=12)
        await asyncio.gather(large, *small)
        assert now() == pytest.approx(10)


@virtual_time
async def test_a_large_request_refused_during_a_flood_of_single_images_is_admitted_at_a_later_try() -> None:
    async with batcher(FakeExecutor({1: 1.0}), max_items=30) as made:
        singles: list[asyncio.Task[list[InferenceResult]]] = []

        async def flood() -> None:
            for _ in range(3 * 120):  # three a second for two minutes, of which one is answered
                singles.append(await asking(made, 1, within_s=30))
                await asyncio.sleep(1 / 3)

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(60)
        refusals = 0
        while True:
            try:
                await ask(made, *range(100, 110), within_s=30)
                break
            except Overloaded as exc:
                refusals += 1
                await asyncio.sleep(exc.retry_after_s)
        await flooding
        endings = await asyncio.gather(*singles, return_exceptions=True)
        assert {type(ending) for ending in endings} == {list, Overloaded}
        assert refusals > 0
        assert now() < 120 + 30 + 10 + 1, "not before the flood ends, but soon after it"


@virtual_time
async def test_time_is_left_for_what_follows_the_predictor() -> None:
    async with batcher(FakeExecutor({1: 1.0})) as made:
        for _ in range(40):
            with made.admit(windows=1, nbytes=1, deadline=NEVER) as admission:
                await admission.infer(images(1))
                await asyncio.sleep(0.5)  # encoding
        first = await asking(made, 1)
        with pytest.raises(Overloaded, match="beyond the deadline"):
            await ask(made, 2, within_s=2.9)
        await ask(made, 3, within_s=3.1)
        await first


@virtual_time
async def test_a_request_that_is_late_already_is_not_delayed_further() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:
        first = await asking(made, 0)
        execute.seconds = {1: 1.3}
        large = await asking(made, *range(100, 108), within_s=9.5)
        await asyncio.sleep(3)  # by now it will hardly be in time
        with pytest.raises(Overloaded, match="here before"):
            await ask(made, 1)
        await asyncio.wait([first, large])


@virtual_time
async def test_an_image_that_would_end_too_late_is_not_begun_while_others_wait() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute) as made:
        execute.seconds = {**SECONDS, 1: 4.0}  # slower than at warm-up
        first = await asking(made, 0)
        late = await asking(made, 1, within_s=6)
        others = [await asking(made, value) for value in range(2, 11)]
        await asyncio.wait([late])
        assert isinstance(late.exception(), DeadlineExceeded)
        await asyncio.gather(first, *others)
        assert execute.batches == [[0], [2, 3, 4, 5, 6, 7, 8, 9], [10]]


@virtual_time
async def test_streams_share_the_queue_and_each_goes_on_when_it_is_free() -> None:
    execute = FakeExecutor({1: 1.0, 2: 1.2, 4: 1.6})
    async with batcher(execute, streams=2) as made:
        first = await asking(made, 1, 2, 3, 4)
        assert execute.batches == [[1, 2], [3, 4]], "halves, at once"
        await asyncio.sleep(0.5)
        second = await asking(made, 5)
        await asyncio.gather(first, second)
        assert execute.started_at == [pytest.approx(at) for at in (0, 0, 1.2)]
        assert now() == pytest.approx(2.2)


@virtual_time
async def test_a_stream_that_hangs_does_not_stop_the_others_and_is_reported() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute, streams=2, hang_s=5) as made:
        execute.seconds = {1: 100.0}
        stuck = await asking(made, 1)
        execute.seconds = {1: 1.0}
        assert await ask(made, 2)
        assert made.is_open
        await asyncio.sleep(5)
        assert not made.is_open
        assert made.hangs_for_s == pytest.approx(1.0)
        stuck.cancel()


@virtual_time
async def test_a_wait_is_predicted_for_all_streams_together() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute, streams=2) as made:
        for value in range(8):  # 2 at a time: 4 s
            await asking(made, value)
        with pytest.raises(Overloaded):
            made.admit(windows=1, nbytes=1, deadline=now() + 4.4)
        made.admit(windows=1, nbytes=1, deadline=now() + 5.1)


@virtual_time
async def test_the_next_batch_starts_before_the_requests_of_the_last_one_go_on() -> None:
    execute = FakeExecutor({1: 1.0})
    async with batcher(execute) as made:

        async def first() -> None:
            await ask(made, 1)
            assert execute.batches == [[1], [2]]

        asked = asyncio.create_task(first())
        await asyncio.sleep(0)
        await asyncio.gather(asked, await asking(made, 2))


# Several sizes: an image of 4x8 is four windows of work


LARGE = {(4, 8): {1: 3.5, 2: 6.5}}


def large(*values: float) -> list[Chw]:
    return [np.full((3, 4, 8), value, np.float32) for value in values]


async def ask_for(made: Batcher, tiles: list[Chw]) -> list[InferenceResult]:
    windows = sum(made.windows((tile.shape[1], tile.shape[2])) for tile in tiles)
    with made.admit(windows=windows, nbytes=1, deadline=now() + NEVER) as admission:
        return await admission.infer(tiles)


@virtual_time
async def test_a_batch_holds_images_of_one_size_and_each_gets_its_own_result() -> None:
    execute = FakeExecutor(SECONDS)
    async with batcher(execute, larger=LARGE) as made:
        first = await asking(made, 1)
        others = [
            asyncio.create_task(ask_for(made, tiles))
            for tiles in (list(images(2)), large(3), list(images(4)), large(5))
        ]
        results = await asyncio.gather(first, *others)
        assert execute.batches == [[1], [2, 4], [3, 5]]
        assert [float(a.sr[0, 0, 0]) for (a,) in results] == [1, 2, 3, 4, 5]
        assert [a.sr.shape for (a,) in results] == [(3, 4, 8), (3, 4, 8), (3, 8, 16), (3, 4, 8), (3, 8, 16)]


@virtual_time
async def test_admission_counts_work_and_not_images() -> None:
    async with batcher(FakeExecutor(SECONDS), larger=LARGE, max_items=8) as made:
        assert made.windows((4, 8)) == 4
        with made.admit(windows=8, nbytes=1, deadline=NEVER) as admission:
            asked = asyncio.create_task(admission.infer(large(1, 2)))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                made.admit(windows=1, nbytes=1, deadline=NEVER)
            assert len(await asked) == 2
        assert made.capacity.windows.used == 0


@virtual_time
async def test_neither_size_keeps_the_other_waiting() -> None:
    """In order of arrival, however many of one size there are."""
    execute = FakeExecutor(SECONDS)
    async with batcher(execute, larger=LARGE) as made:
        first = await asking(made, 1)
        flood = [asyncio.create_task(ask_for(made, list(images(value)))) for value in range(2, 26)]
        await asyncio.sleep(0)
        single = asyncio.create_task(ask_for(made, large(99)))
        await asyncio.sleep(0)
        later = [asyncio.create_task(ask_for(made, list(images(value)))) for value in range(26, 42)]
        await asyncio.gather(first, *flood, single, *later)
        place = execute.batches.index([99])
        assert place <= 4, "24 images that came before it are three batches"


@virtual_time
async def test_a_size_whose_batch_fails_is_retried_alone() -> None:
    execute = FakeExecutor(SECONDS)
    execute.fail_on = 5.0
    async with batcher(execute, larger=LARGE) as made:
        first = await asking(made, 1)
        good, bad = (asyncio.create_task(ask_for(made, large(value))) for value in (3, 5))
        assert (await first, float((await good)[0].sr[0, 0, 0]))[1] == 3
        with pytest.raises(InferenceFailed):
            await bad
