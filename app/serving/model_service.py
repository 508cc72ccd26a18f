"""Uploads in, super-resolved bytes out. Knows no HTTP.

    images   probe every header -> crops                          \\
    a page   probe its header -> regions -> crops of the page     /  -> admit -> CropRunner -> answers
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Self

from app.batching.batcher import Batcher
from app.batching.capacity import Capacity
from app.batching.queue import EXPIRED
from app.errors import DeadlineExceeded, ServiceError
from app.imaging import codec
from app.imaging.codec import Format
from app.imaging.quality_gate import DEFAULT_POLICY, QualityGate, RoutingPolicy
from app.imaging.regions import Corners
from app.inference.predictor import Predictor
from app.serving.crops import Crop, CropResult, CropRunner, Picture, Timings
from app.serving.page import PageOptions, PageWork
from app.serving.pipeline import CropOptions, Planner
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import OFF, Tracing
from model_store.store import Artefact
from model_store.tiling import Geometry

log = logging.getLogger("telescope.service")


@dataclass(frozen=True)
class Options:
    """What the client asked for, the same for every image of a request."""

    format: Format = "png"
    geometry: Geometry = "native"
    policy: RoutingPolicy = DEFAULT_POLICY


@dataclass(frozen=True)
class Upload:
    data: bytes
    filename: str | None = None


@dataclass(frozen=True)
class PageAnswers:
    """The regions' answers in order, and the page with them in their places if it was asked for."""

    regions: list[CropResult | ServiceError]
    page: Picture | None


@dataclass(frozen=True)
class LoadedModel:
    """What the model store holds, the predictor that was opened and warmed on it, and who says when to use it."""

    artefact: Artefact
    predictor: Predictor
    gate: QualityGate = field(default_factory=QualityGate)

    @property
    def planner(self) -> Planner:
        manifest = self.artefact.manifest
        return Planner(manifest.pixels, self.gate, sizes=manifest.input_sizes)


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
        self._settings = settings
        self._metrics = metrics
        manifest = self.artefact.manifest
        self.name, self.ref = manifest.name, manifest.ref
        self.headers = [  # of every answer that is this model's, as ASGI has them
            (b"x-model-name", manifest.name.encode()),
            (b"x-model-version", str(manifest.version).encode()),
            (b"x-model-digest", self.artefact.digest.encode()),
        ]
        self._planner = model.planner
        self._counts = metrics.for_model(manifest.name, manifest.version)
        self.batcher = Batcher(
            self.predictor.run,
            batch_seconds=self.predictor.batch_seconds,
            streams=self.predictor.streams,
            capacity=capacity,
            observer=self._counts,
            max_delay_s=settings.max_delay_ms / 1000,
            hang_s=settings.hang_timeout_s,
            tracing=tracing,
        )
        self._runner = CropRunner(self.batcher, self._planner, workers=workers, metrics=metrics, tracing=tracing)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def info(self) -> dict[str, str]:
        """Which model this is and where it runs, as metrics tell it."""
        return {
            "model": self.name,
            "version": str(self.artefact.manifest.version),
            "digest": self.artefact.digest,
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
        }

    @contextmanager
    def used(self) -> Iterator[Self]:
        """Within, a request is under way here, whether it has been admitted yet or not."""
        self._users += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def unused(self) -> None:
        """Returns when no request is under way."""
        await self._unused.wait()

    def start(self) -> None:
        self._loop = asyncio.create_task(self.batcher.run(), name=f"batcher of {self.ref}")
        self._loop.add_done_callback(_tell_if_it_broke)

    def abandon(self) -> None:
        """Refuse the requests that were admitted and have no answer yet."""
        self._loop.cancel()

    async def stop(self) -> None:
        self.abandon()
        await asyncio.wait([self._loop])
        await asyncio.to_thread(self.predictor.close)

    async def super_resolve(
        self, uploads: Sequence[Upload], *, options: Options, deadline: float, timings: Timings
    ) -> list[CropResult | ServiceError]:
        """One entry per upload, in order: the picture, or what was wrong with that image alone.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """

        async def answers() -> list[CropResult | ServiceError]:
            small = codec.is_short(*(upload.data for upload in uploads))
            crops = await self._runner.in_worker(
                lambda: [self._crop(one, options) for one in uploads], small=small
            )
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
        work = PageWork(page.data, corners, options, planner=self._planner, settings=self._settings)
        recomposed: Picture | None = None

        async def answers() -> list[CropResult | ServiceError]:
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

    async def _counted(
        self, images: int, work: Awaitable[list[CropResult | ServiceError]]
    ) -> list[CropResult | ServiceError]:
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
            self._counts.decided(answer.decision for answer in answers if isinstance(answer, CropResult))
            return answers

    def _crop(self, upload: Upload, options: Options) -> Crop | ServiceError:
        try:
            picture = codec.probe(
                upload.data, max_pixels=self._settings.max_image_pixels, min_side_px=self._settings.min_side_px
            )
            size = picture.height, picture.width
            wish = CropOptions(options.geometry, options.policy)
            output = self._planner.output(*size, wish)
            codec.check_result(options.format, *output)
        except ServiceError as exc:
            exc.__cause__ = exc.__context__ = None  # they hold what Pillow made of the file
            return exc.with_traceback(None)
        largest = self._planner.largest(*size, wish)
        return Crop(
            size=size,
            output=output,
            wish=wish,
            largest=largest,
            read=picture.decode,
            finish=lambda rgb: codec.encode(rgb, options.format),
            small=(largest is None or largest.is_small) and picture.is_small(options.format),
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
