"""One loaded model that answers requests: uploads or tensors in, results out. Knows no HTTP.

    images   probe every header -> crops                            \\
    a page   probe its header -> regions -> crops of the page        } -> admit -> CropRunner -> results
    a tensor of tiles                                               /
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from app.batching.batcher import Batcher
from app.batching.capacity import Capacity
from app.batching.queue import InferenceResult
from app.errors import BadRegion, ServiceError
from app.imaging import decode, encode
from app.imaging.encode import Format
from app.imaging.outlines import Points
from app.ocr.reader import TextReader
from app.serving.loading import LoadedModel
from app.serving.page import Page, PageOptions
from app.serving.page_reading import PageReader, PageReading, PageReadingOptions
from app.serving.pipeline import CropOptions
from app.serving.request_scope import counted, until
from app.serving.runner import Crop, CropResult, CropRunner, EncodedPicture, Timings
from app.settings import Settings
from app.telemetry.metrics import Metrics, ModelMetrics
from app.telemetry.tracing import OFF, Tracing
from model_store.pixels import Nchw

log = logging.getLogger("telescope.service")


@dataclass(frozen=True)
class Upload:
    """fault: the error of an upload that could not be read; its data is empty."""

    data: bytes
    filename: str | None = None
    fault: ServiceError | None = None


@dataclass(frozen=True)
class PageResults:
    """One result per region, in order, and the recomposed page if the request asked for it."""

    regions: list[CropResult | ServiceError]
    page: EncodedPicture | None


class ServedModel:
    """One loaded model with its batcher, from `start` to `stop`.

    capacity, workers: shared with the other loaded models.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        capacity: Capacity,
        workers: Executor,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        self.artefact = model.artefact
        self.predictor = model.predictor
        self.gate = model.gate
        manifest = self.artefact.manifest
        self.name, self.version, self.ref = manifest.name, str(manifest.version), manifest.ref
        self.headers = [  # of every response of this model, as ASGI spells headers
            (b"x-model-name", manifest.name.encode()),
            (b"x-model-version", self.version.encode()),
            (b"x-model-digest", self.artefact.digest.encode()),
        ]
        self._settings = settings
        self._upload_bytes, self._result_bytes = metrics.upload_bytes, metrics.result_bytes
        self._metrics = ModelMetrics(metrics, manifest.name, manifest.version)
        self._pipeline = model.pipeline
        self.batcher = Batcher(
            self.predictor.run,
            batch_seconds=self.predictor.batch_seconds,
            streams=self.predictor.streams,
            capacity=capacity,
            observer=self._metrics,
            max_delay_s=settings.max_delay_ms / 1000,
            hang_s=settings.hang_timeout_s,
            tracing=tracing,
        )
        self._runner = CropRunner(self._pipeline, self.batcher, workers=workers, metrics=metrics, tracing=tracing)
        self._users = 0
        self.unused = asyncio.Event()  # set while no request uses the model
        self.unused.set()

    def info(self) -> dict[str, str]:
        """The model and where it runs, as labels of metrics and fields of log lines."""
        return {
            "model": self.name,
            "version": self.version,
            "digest": self.artefact.digest,
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
        }

    @contextmanager
    def used(self) -> Iterator[Self]:
        """Marks the model as in use by one request, admitted or not: it is not closed before the context ends."""
        self._users += 1
        self.unused.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self.unused.set()

    def start(self) -> None:
        self._loop = asyncio.create_task(self.batcher.run(), name=f"batcher of {self.ref}")
        self._loop.add_done_callback(_log_a_crash)

    def abandon(self) -> None:
        """Refuse the admitted requests that have no result yet."""
        self._loop.cancel()

    async def stop(self) -> None:
        self.abandon()
        await asyncio.wait([self._loop])
        await asyncio.to_thread(self.predictor.close)

    async def super_resolve(
        self,
        uploads: Sequence[Upload],
        options: CropOptions,
        image_format: Format,
        *,
        deadline: float,
        timings: Timings,
    ) -> list[CropResult | ServiceError]:
        """One entry per upload, in order: its result, or its own error.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """
        self._upload_bytes.inc(sum(len(upload.data) for upload in uploads))
        results: list[CropResult | ServiceError] = []
        with counted(self._metrics, results, images=len(uploads)):
            small = decode.is_short(*(upload.data for upload in uploads))
            crops = await self._runner.call(self._crops, uploads, options, image_format, inline=small)
            if all(isinstance(crop, ServiceError) for crop in crops):
                results += [crop for crop in crops if isinstance(crop, ServiceError)]
            else:
                with self._runner.admit(crops, deadline=deadline) as admission:
                    results += await self._runner.run(crops, admission, timings)
        return results

    async def super_resolve_regions(
        self,
        upload: Upload,
        outlines: Sequence[Points | BadRegion],
        options: PageOptions,
        image_format: Format,
        *,
        deadline: float,
        timings: Timings,
    ) -> PageResults:
        """One entry per region, in order, and the page with the results in their places if options ask for it.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """
        self._upload_bytes.inc(len(upload.data))
        call, recomposed = self._runner.call, None
        results: list[CropResult | ServiceError] = []
        with counted(self._metrics, results, images=len(outlines)):
            async with until(deadline):
                page = await call(self._page, upload, options, image_format)
                crops = await call(page.crops, outlines)
            with self._runner.admit(crops, deadline=deadline, more_bytes=page.nbytes) as admission:
                async with until(deadline):
                    await call(page.decode)
                results += await self._runner.run(crops, admission, timings)
                if options.recompose:
                    async with until(deadline):
                        recomposed = await call(page.recompose, crops, results)
        return PageResults(results, recomposed)

    async def super_resolve_page(
        self,
        upload: Upload,
        options: PageReadingOptions,
        image_format: Format,
        *,
        reader: TextReader,
        deadline: float,
        timings: Timings,
    ) -> PageReading:
        """The lines of text that `reader` finds on a page, each super-resolved if it helps, and read if asked.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """
        self._upload_bytes.inc(len(upload.data))
        page_options = PageOptions(recompose=options.recompose, policy=options.policy)
        async with until(deadline):
            page = await self._runner.call(self._page, upload, page_options, image_format)
        steps = PageReader(page, options, image_format, reader=reader, runner=self._runner, gate=self.gate)
        most = self._settings.max_regions
        return await steps.run(self._metrics, max_lines=most, deadline=deadline, timings=timings)

    async def infer(self, lr_nchw: Nchw, *, deadline: float, timings: Timings) -> list[InferenceResult]:
        """Tiles as the network takes them, float32 (N, 3, h, w) of an input size -> one result for each, in order.

        Each tile counts as an image; if one fails, all do. deadline: on `time.monotonic`. Raises ServiceError.
        """
        self._upload_bytes.inc(lr_nchw.nbytes)
        results: list[InferenceResult] = []
        with counted(self._metrics, results, images=len(lr_nchw)):
            results += await self._runner.infer(lr_nchw, deadline=deadline, timings=timings)
        self._result_bytes.inc(sum(tile.sr.nbytes for tile in results))
        return results

    def _page(self, upload: Upload, options: PageOptions, image_format: Format) -> Page:
        return Page(upload.data, options, image_format, pipeline=self._pipeline, settings=self._settings)

    def _crops(
        self, uploads: Sequence[Upload], options: CropOptions, image_format: Format
    ) -> list[Crop | ServiceError]:
        return [self._crop(upload, options, image_format) for upload in uploads]

    def _crop(self, upload: Upload, options: CropOptions, image_format: Format) -> Crop | ServiceError:
        limits = self._settings
        if upload.fault:
            return upload.fault
        try:
            picture = decode.probe(upload.data, max_pixels=limits.max_image_pixels, min_side_px=limits.min_side_px)
            output = self._pipeline.output_size(picture.height, picture.width, options)
            encode.check_result(image_format, *output)
        except ServiceError as exc:
            exc.__cause__ = exc.__context__ = None  # they refer to Pillow's view of the file
            return exc.with_traceback(None)
        largest = self._pipeline.largest_views(picture.height, picture.width, options)
        small = (largest is None or largest.is_small) and picture.is_small(image_format)
        return Crop(picture, options, output, largest, image_format, small)


def _log_a_crash(loop: "asyncio.Task[None]") -> None:
    if not loop.cancelled() and loop.exception():
        log.critical("the batcher has stopped; /readyz answers 503 until a restart", exc_info=loop.exception())
