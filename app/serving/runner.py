"""Crops and tensors on their way through the batcher, in one request. Knows no HTTP.

    admit (all crops or none) -> each crop: decode -> prepare -> batcher -> finish -> encode
    a tensor of tiles -> admit -> batcher

Decoding and encoding run in worker threads, so that the event loop stays free; a crop so small that handing it to
a thread would take as long as the work itself is done on the loop.
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
from typing import Protocol, TypeVar

from app.batching.admission import Admission
from app.batching.batcher import Batcher
from app.batching.queue import EXPIRED, InferenceResult
from app.errors import DeadlineExceeded, InternalError, ServiceError
from app.imaging import encode
from app.imaging.encode import Format
from app.imaging.quality_gate import Decision
from app.serving.pipeline import CropOptions, CropPipeline, Prepared
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import OFF, Tracing
from model_store.pixels import Chw, Nchw, Rgb, Size
from model_store.views import Views

T = TypeVar("T")
log = logging.getLogger("telescope.crops")


class CropSource(Protocol):
    """An uploaded picture, or a region of a page."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def decode(self) -> Rgb:
        """uint8 (height, width, 3). Raises ServiceError."""
        ...


@dataclass(frozen=True)
class Crop:
    """One crop before decoding.

    output: height and width of its result. largest: the views of most pixels that it may get; None: the network
    is never used. image_format: of the result; None: the result keeps its pixels, for its page. small:
    decoding and encoding take about a millisecond at most, for any pixels.
    """

    source: CropSource
    options: CropOptions
    output: Size
    largest: Views | None
    image_format: Format | None
    small: bool = False

    @property
    def size(self) -> Size:
        return self.source.height, self.source.width


@dataclass(frozen=True)
class EncodedPicture:
    """One picture of a response; without bytes if it went back onto its page."""

    data: bytes
    input_size: Size
    output_size: Size


@dataclass(frozen=True)
class CropResult(EncodedPicture):
    """The result for one crop. rgb: its pixels, if they were not encoded."""

    decision: Decision
    rgb: Rgb | None = None


@dataclass
class Timings:
    """Seconds of each phase of a request; with several images, the longest."""

    decode_s: float = 0
    queue_s: float = 0
    inference_s: float = 0
    encode_s: float = 0
    detect_s: float = 0  # of a page alone
    read_s: float = 0


class CropRunner:
    """workers: threads for decoding and encoding."""

    def __init__(
        self,
        pipeline: CropPipeline,
        batcher: Batcher,
        *,
        workers: Executor,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        self._pipeline = pipeline
        self._batcher = batcher
        self._workers = workers
        self._metrics = metrics
        self._tracing = tracing

    async def call(self, function: Callable[..., T], *arguments: object, inline: bool = False) -> T:
        """Call a blocking function in a worker thread; inline: on the event loop, for a call of microseconds."""
        if inline:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)

    def admit(self, crops: Sequence[Crop | ServiceError], *, deadline: float, more_bytes: int = 0) -> Admission:
        """Admit the work and the memory of all crops, and `more_bytes` beside them.

        deadline: on `time.monotonic`. Raises as `Batcher.admit` does.
        """
        windows, nbytes = self._needs(crops)
        return self._batcher.admit(windows=windows, nbytes=nbytes + more_bytes, deadline=deadline)

    def check_size(self, crops: Sequence[Crop | ServiceError], *, more_bytes: int) -> None:
        """Raises RequestTooLarge if the crops do not fit an idle service beside `more_bytes` that are admitted."""
        windows, nbytes = self._needs(crops)
        self._batcher.capacity.fits(windows=windows, nbytes=nbytes + more_bytes)

    def _needs(self, crops: Sequence[Crop | ServiceError]) -> tuple[int, int]:
        """Windows and bytes."""
        good = [crop for crop in crops if isinstance(crop, Crop)]
        return sum(map(self._most_windows, good)), sum(map(self._memory, good))

    async def run(
        self, crops: Sequence[Crop | ServiceError], admission: Admission, timings: Timings
    ) -> list[CropResult | ServiceError]:
        """One entry per crop, in order: its result, or its own error."""
        if len(crops) == 1 and isinstance(crops[0], Crop):
            return [await self._one(crops[0], admission, timings)]
        async with asyncio.TaskGroup() as group:
            results = [
                crop if isinstance(crop, ServiceError) else group.create_task(self._one(crop, admission, timings))
                for crop in crops
            ]
        return [result if isinstance(result, ServiceError) else result.result() for result in results]

    async def infer(self, lr_nchw: Nchw, *, deadline: float, timings: Timings) -> list[InferenceResult]:
        """Tiles of one of the pipeline's sizes, float32 (N, 3, h, w) -> their results, in order.

        deadline: on `time.monotonic`. Raises as `Batcher.admit` and `Admission.infer` do.
        """
        windows = len(lr_nchw) * self._batcher.windows(lr_nchw.shape[2:])
        nbytes = lr_nchw.nbytes * (1 + self._pipeline.spec.scale**2)
        with self._batcher.admit(windows=windows, nbytes=nbytes, deadline=deadline) as admission:
            tiles = await admission.infer(lr_nchw)
        self._inferred(tiles, timings)
        return tiles

    async def _one(self, crop: Crop, admission: Admission, timings: Timings) -> CropResult | ServiceError:
        try:
            async with self._deadline(crop, admission):
                with self._tracing.span("crop"):
                    with self._tracing.span("decode"):
                        prepared, decode_s = await self.call(self._prepare, crop, inline=crop.small)
                    used = prepared.views if prepared.decision.infers else None
                    admission.release(self._most_windows(crop) - self._windows(used))
                    tiles = await admission.infer(prepared.tiles) if used else []
                    self._inferred(tiles, timings)
                    with self._tracing.span("encode"):
                        sr = [tile.sr for tile in tiles]
                        result, encode_s = await self.call(self._finish, crop, prepared, sr, inline=crop.small)
        except ServiceError as exc:
            return exc
        except TimeoutError:
            return DeadlineExceeded(EXPIRED)
        except Exception as exc:  # a defect on one image spares the request's other images
            log.exception("internal error")
            failed = InternalError("An unexpected error was logged under this request's id.")
            failed.__cause__ = exc
            return failed
        timings.decode_s = max(timings.decode_s, decode_s)
        timings.encode_s = max(timings.encode_s, encode_s)
        return result

    def _inferred(self, tiles: Sequence[InferenceResult], timings: Timings) -> None:
        self._tracing.inferred((tile.batch, tile.queue_s) for tile in tiles)
        timings.queue_s = max(timings.queue_s, *(tile.queue_s for tile in tiles), 0)
        timings.inference_s = max(timings.inference_s, *(tile.inference_s for tile in tiles), 0)

    def _deadline(self, crop: Crop, admission: Admission) -> AbstractAsyncContextManager[object]:
        """A small crop waits for the batcher alone, and the batcher keeps the deadline itself."""
        return nullcontext() if crop.small else asyncio.timeout(admission.deadline - time.monotonic())

    def _memory(self, crop: Crop) -> int:
        """Bytes of a crop's picture, its result, and its tiles in float32 before and after the network."""
        tiles = 4 * 3 * crop.largest.pixels * (1 + self._pipeline.spec.scale**2) if crop.largest else 0
        return 3 * (prod(crop.size) + prod(crop.output)) + tiles

    def _most_windows(self, crop: Crop) -> int:
        """The work of any views that the crop may get: none have more pixels than the largest, view by view.

        The largest need not be the most work: a tile of 24x96 is 2.25 times as many pixels as a window, and counts
        as three.
        """
        layouts = crop.largest.layouts if crop.largest else []
        return sum(
            max(layout.pixels // prod(tile) * self._batcher.windows(tile) for tile in self._pipeline.sizes)
            for layout in layouts
        )

    def _windows(self, views: Views | None) -> int:
        return sum(one.tiles * self._batcher.windows(one.tile) for one in views.layouts) if views else 0

    def _prepare(self, crop: Crop) -> tuple[Prepared, float]:
        """The prepared crop, and the seconds taken."""
        start = perf_counter()
        prepared = self._pipeline.prepare(crop.source.decode(), crop.options)
        seconds = perf_counter() - start
        self._metrics.decode_seconds.observe(seconds)
        return prepared, seconds

    def _finish(self, crop: Crop, prepared: Prepared, sr: Sequence[Chw]) -> tuple[CropResult, float]:
        """The result, and the seconds taken."""
        start = perf_counter()
        rgb = self._pipeline.finish(prepared, sr)
        data = encode.encode(rgb, crop.image_format) if crop.image_format else b""
        seconds = perf_counter() - start
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.result_bytes.inc(len(data))
        kept = None if crop.image_format else rgb
        return CropResult(data, crop.size, (rgb.shape[0], rgb.shape[1]), prepared.decision, kept), seconds
