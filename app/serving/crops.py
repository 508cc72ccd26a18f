"""Crops on their way through the predictor. Knows neither HTTP nor where crops come from.

    admit (all crops or none) -> for each: read -> decide -> tiles -> batcher -> merge -> finish
                                                         \\-> enlarge or keep, where it would not help -> finish

Reading and finishing run in worker threads, so the event loop stays free to admit, cancel and answer; except where
a crop is so small that handing it to a thread would take the loop as long as doing it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import TypeVar

from app.batching.batcher import Admission, Batcher
from app.batching.queue import EXPIRED
from app.errors import DeadlineExceeded, InternalError, ServiceError
from app.imaging.quality_gate import Decision
from app.serving.pipeline import CropOptions, Planner, Prepared
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import OFF, Tracing
from model_store.pixels import Rgb
from model_store.tiling import Chw, Layout, Size

T = TypeVar("T")
log = logging.getLogger("telescope.crops")


@dataclass(frozen=True)
class Crop:
    """One crop: where its pixels come from, what is wanted of it, and where the answer goes.

    output: height and width of the answer. largest: the layout that takes most of those it may get once it is
    decoded; None: the network is not used in any case. finish: what to send of the answer; empty bytes where it is
    put elsewhere. small: reading and finishing take about a millisecond at most, whatever the pixels are.
    """

    size: Size
    output: Size
    wish: CropOptions
    largest: Layout | None
    read: Callable[[], Rgb]
    finish: Callable[[Rgb], bytes]
    small: bool = False


@dataclass(frozen=True)
class Picture:
    """One picture of an answer; no bytes where it was put elsewhere."""

    data: bytes
    input_size: tuple[int, int]  # width, height
    output_size: tuple[int, int]


@dataclass(frozen=True)
class CropResult(Picture):
    """One answered crop."""

    decision: Decision


@dataclass
class Timings:
    """Where one request's time went; with several images, the longest of each phase."""

    decode_s: float = 0
    queue_s: float = 0
    inference_s: float = 0
    encode_s: float = 0


class CropRunner:
    def __init__(
        self,
        batcher: Batcher,
        planner: Planner,
        *,
        workers: Executor,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        self._batcher = batcher
        self._planner = planner
        self._metrics = metrics
        self._tracing = tracing
        self._workers = workers

    async def in_worker(self, work: Callable[[], T], *, small: bool = False) -> T:
        """small: it takes less than a thread's turn would; it is done here and now."""
        if small:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    def admit(self, crops: Sequence[Crop | ServiceError], *, deadline: float, more_bytes: int = 0) -> Admission:
        """Room for the work and the memory of all crops, and for `more_bytes` beside them.

        deadline: on `time.monotonic`. Raises what `Batcher.admit` raises.
        """
        good = [crop for crop in crops if isinstance(crop, Crop)]
        return self._batcher.admit(
            windows=sum(self._windows(crop.largest) for crop in good),
            nbytes=sum(self._memory(crop) for crop in good) + more_bytes,
            deadline=deadline,
        )

    async def run(
        self, crops: Sequence[Crop | ServiceError], admission: Admission, timings: Timings
    ) -> list[CropResult | ServiceError]:
        """One entry per crop, in order: its answer, or what was wrong with it alone."""
        if len(crops) == 1 and isinstance(crops[0], Crop):
            return [await self._one(crops[0], admission, timings)]
        async with asyncio.TaskGroup() as group:
            answers = [
                crop if isinstance(crop, ServiceError) else group.create_task(self._one(crop, admission, timings))
                for crop in crops
            ]
        return [answer if isinstance(answer, ServiceError) else answer.result() for answer in answers]

    async def _one(self, crop: Crop, admission: Admission, timings: Timings) -> CropResult | ServiceError:
        try:
            async with self._patience(crop, admission):
                with self._tracing.span("crop"):
                    with self._tracing.span("decode"):
                        read = await self.in_worker(lambda: self._read(crop), small=crop.small)
                    prepared = read.prepared
                    used = prepared.layout if prepared.decision.infers else None
                    admission.release(self._windows(crop.largest) - self._windows(used))
                    tiles = await admission.infer(prepared.tiles) if used else []
                    self._tracing.inferred(tiles)
                    with self._tracing.span("encode"):
                        sr = [tile.sr for tile in tiles]
                        finished = await self.in_worker(lambda: self._finish(crop, prepared, sr), small=crop.small)
        except ServiceError as exc:
            return exc
        except TimeoutError:
            return DeadlineExceeded(EXPIRED)
        except Exception as exc:  # ours to mend, but not a reason to fail the request's other images
            log.exception("internal error")
            failed = InternalError("An unexpected error was logged under this request's id.")
            failed.__cause__ = exc
            return failed
        timings.decode_s = max(timings.decode_s, read.seconds)
        timings.queue_s = max(timings.queue_s, *(tile.queue_s for tile in tiles), 0)
        timings.inference_s = max(timings.inference_s, *(tile.inference_s for tile in tiles), 0)
        timings.encode_s = max(timings.encode_s, finished.seconds)
        return finished.done

    def _patience(self, crop: Crop, admission: Admission) -> AbstractAsyncContextManager[object]:
        """Until the deadline; a small crop waits for nothing but the batcher, which keeps it, too."""
        return nullcontext() if crop.small else asyncio.timeout(admission.deadline - time.monotonic())

    def _memory(self, crop: Crop) -> int:
        """Bytes of a crop's picture, its answer, and its tiles in float32 before and after the network."""
        tiles = 4 * 3 * crop.largest.pixels * (1 + self._planner.spec.scale**2) if crop.largest else 0
        return 3 * (prod(crop.size) + prod(crop.output)) + tiles

    def _windows(self, layout: Layout | None) -> int:
        return layout.tiles * self._batcher.windows(layout.tile) if layout else 0

    def _read(self, crop: Crop) -> "_Read":
        start = perf_counter()
        prepared = self._planner.prepare(crop.read(), crop.wish)
        seconds = perf_counter() - start
        self._metrics.decode_seconds.observe(seconds)
        return _Read(prepared, seconds)

    def _finish(self, crop: Crop, prepared: Prepared, sr: Sequence[Chw]) -> "_Finished":
        start = perf_counter()
        rgb = self._planner.finish(prepared, sr)
        data = crop.finish(rgb)
        seconds = perf_counter() - start
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.result_bytes.inc(len(data))
        height, width = crop.size
        done = CropResult(data, (width, height), (rgb.shape[1], rgb.shape[0]), prepared.decision)
        return _Finished(done, seconds)


@dataclass(frozen=True)
class _Read:
    prepared: Prepared
    seconds: float


@dataclass(frozen=True)
class _Finished:
    done: CropResult
    seconds: float
