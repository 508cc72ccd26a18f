"""Uploads in, super-resolved bytes out. Knows no HTTP.

    images   probe every header -> crops                          \\
    a page   probe its header -> regions -> crops of the page     /  -> admit -> CropRunner -> answers
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app import codec, geometry
from app.batch_queue import EXPIRED
from app.batcher import Batcher, Limits
from app.codec import Format
from app.crops import Crop, CropRunner, Done, Picture, Timings
from app.errors import DeadlineExceeded, ServiceError
from app.geometry import Geometry
from app.judge import DEFAULT_MODE, Judge, Mode
from app.metrics import Metrics
from app.page import PageOptions, PageWork
from app.predictor import Predictor
from app.regions import Corners
from app.settings import Settings
from app.tracing import OFF, Tracing
from model_store.store import Artefact

log = logging.getLogger("telescope.service")


@dataclass(frozen=True)
class Options:
    """What the client asked for, the same for every image of a request."""

    format: Format = "png"
    geometry: Geometry = "native"
    mode: Mode = DEFAULT_MODE


@dataclass(frozen=True)
class Upload:
    data: bytes
    filename: str | None = None


@dataclass(frozen=True)
class PageAnswers:
    """The regions' answers in order, and the page with them in their places if it was asked for."""

    regions: list[Done | ServiceError]
    page: Picture | None


class Service:
    """One loaded model with its batcher. `start` and `stop` belong to the application's lifespan."""

    def __init__(
        self,
        artefact: Artefact,
        predictor: Predictor,
        judge: Judge,
        *,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        self.artefact = artefact
        self.predictor = predictor
        self._settings = settings
        self._metrics = metrics
        manifest = artefact.manifest
        self._spec = manifest.pixels
        self._counts = metrics.for_model(manifest.name, manifest.version)
        limits = Limits(
            max_items=settings.max_queue_windows,
            max_bytes=settings.max_queue_bytes,
            max_delay_s=settings.max_delay_ms / 1000,
            hang_s=settings.hang_timeout_s,
        )
        self.batcher = Batcher(
            predictor.run,
            batch_seconds=predictor.batch_seconds,
            limits=limits,
            observer=self._counts,
            tracing=tracing,
        )
        self._runner = CropRunner(self.batcher, judge, spec=self._spec, metrics=metrics, tracing=tracing)

    def start(self) -> None:
        self._loop = asyncio.create_task(self.batcher.run(), name="batcher")
        self._loop.add_done_callback(_tell_if_it_broke)

    def begin_drain(self) -> None:
        """From now on every new request is refused; those admitted are answered."""
        self.batcher.close("The service is shutting down; send the request to another replica.")

    def abandon(self) -> None:
        """Refuse also the requests that were admitted and have no answer yet."""
        self.begin_drain()
        self._loop.cancel()

    async def stop(self) -> None:
        self.abandon()
        await asyncio.wait([self._loop])
        self._runner.close()
        await asyncio.to_thread(self.predictor.close)

    async def super_resolve(
        self, uploads: Sequence[Upload], *, options: Options, deadline: float, timings: Timings
    ) -> list[Done | ServiceError]:
        """One entry per upload, in order: the picture, or what was wrong with that image alone.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """

        async def answers() -> list[Done | ServiceError]:
            crops = await self._runner.in_worker(lambda: [self._crop(upload, options) for upload in uploads])
            if all(isinstance(crop, ServiceError) for crop in crops):
                return [crop for crop in crops if isinstance(crop, ServiceError)]
            with self._runner.admit(crops, deadline=deadline) as admission:
                return await self._runner.run(crops, admission, timings)

        self._metrics.upload_bytes.inc(sum(len(upload.data) for upload in uploads))
        return await self._counted(len(uploads), answers())

    async def super_resolve_regions(
        self,
        page: Upload,
        corners: Sequence[Corners],
        *,
        options: PageOptions,
        deadline: float,
        timings: Timings,
    ) -> PageAnswers:
        """One entry per region, in order, and the page with the answers put back if that was asked for.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """
        work = PageWork(page.data, corners, options, spec=self._spec, settings=self._settings)
        recomposed: Picture | None = None

        async def answers() -> list[Done | ServiceError]:
            nonlocal recomposed
            crops = await self._runner.in_worker(work.crops)
            with self._runner.admit(crops, deadline=deadline, more_bytes=work.nbytes) as admission:
                async with _until(deadline):
                    await self._runner.in_worker(work.decode)
                answered = await self._runner.run(crops, admission, timings)
                if options.recompose:
                    async with _until(deadline):
                        recomposed = await self._runner.in_worker(work.recompose)
                return answered

        self._metrics.upload_bytes.inc(len(page.data))
        return PageAnswers(await self._counted(len(corners), answers()), recomposed)

    async def _counted(self, images: int, work: Awaitable[list[Done | ServiceError]]) -> list[Done | ServiceError]:
        with self._counts.images(images) as outcomes:
            try:
                answers = await work
            except ServiceError as exc:
                outcomes += [exc.outcome] * images
                raise
            except asyncio.CancelledError:
                outcomes += ["cancelled"] * images
                raise
            outcomes += [a.outcome if isinstance(a, ServiceError) else "ok" for a in answers]
            self._counts.decided(answer.decision for answer in answers if isinstance(answer, Done))
            return answers

    def _crop(self, upload: Upload, options: Options) -> Crop | ServiceError:
        try:
            info = codec.probe(
                upload.data, max_pixels=self._settings.max_image_pixels, min_side_px=self._settings.min_side_px
            )
            layout = geometry.plan(info.height, info.width, geometry=options.geometry, spec=self._spec)
            codec.check_result(options.format, *layout.output)
        except ServiceError as exc:
            return exc
        return Crop(
            size=(info.height, info.width),
            layout=layout,
            mode=options.mode,
            read=lambda: codec.decode(upload.data),
            finish=lambda rgb: codec.encode(rgb, options.format),
        )


@asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded at the deadline, on `time.monotonic`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError as exc:
        raise DeadlineExceeded(EXPIRED) from exc


def _tell_if_it_broke(loop: "asyncio.Task[None]") -> None:
    if not loop.cancelled() and loop.exception():
        log.critical("the batcher has stopped; /readyz answers 503 until a restart", exc_info=loop.exception())
