"""Uploaded bytes in, super-resolved bytes out. Knows no HTTP.

    probe every header -> admit the whole request -> for each image: decode -> windows -> batcher -> encode

Decoding and encoding run in worker threads, so the event loop stays free to admit, cancel and answer.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Literal, TypeVar

from app import codec, geometry
from app.batcher import EXPIRED, Admission, Batcher, Limits
from app.codec import Format
from app.errors import DeadlineExceeded, InternalError, ServiceError
from app.geometry import Chw, Geometry, Layout
from app.metrics import Metrics
from app.predictor import Predictor
from app.settings import Settings
from model_store.pixels import Nchw, Rgb
from model_store.store import Artefact

T = TypeVar("T")
Method = Literal["super_resolved", "enlarged"]
log = logging.getLogger("telescope.service")


@dataclass(frozen=True)
class Options:
    """What the client asked for, the same for every image of a request."""

    format: Format = "png"
    geometry: Geometry = "native"


@dataclass(frozen=True)
class Upload:
    data: bytes
    filename: str | None = None


@dataclass(frozen=True)
class Done:
    """One answered image."""

    data: bytes
    input_size: tuple[int, int]  # width, height
    output_size: tuple[int, int]
    method: Method


@dataclass(frozen=True)
class Crop:
    """One crop on its way: where its pixels come from, how they become windows, and where the answer goes."""

    size: tuple[int, int]  # height, width
    layout: Layout
    read: Callable[[], Rgb]
    finish: Callable[[Rgb], bytes]


@dataclass
class Timings:
    """Where one request's time went; with several images, the longest of each phase."""

    decode_s: float = 0
    queue_s: float = 0
    inference_s: float = 0
    encode_s: float = 0


class Service:
    """One loaded model with its batcher. `start` and `stop` belong to the application's lifespan."""

    def __init__(self, artefact: Artefact, predictor: Predictor, *, settings: Settings, metrics: Metrics) -> None:
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
        )
        self.batcher = Batcher(
            predictor.run, batch_seconds=predictor.batch_seconds, limits=limits, observer=self._counts
        )
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="codec")

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
        self._workers.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.predictor.close)

    async def super_resolve(
        self,
        uploads: Sequence[Upload],
        *,
        options: Options,
        deadline: float,
        timings: Timings,
    ) -> list[Done | ServiceError]:
        """One entry per upload, in order: the picture, or what was wrong with that image alone.

        deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused.
        """
        with self._counts.images(len(uploads)) as outcomes:
            try:
                answers = await self._answer(uploads, options, deadline, timings)
            except ServiceError as exc:
                outcomes += [exc.outcome] * len(uploads)
                raise
            except asyncio.CancelledError:
                outcomes += ["cancelled"] * len(uploads)
                raise
            outcomes += [a.outcome if isinstance(a, ServiceError) else "ok" for a in answers]
            return answers

    async def _answer(
        self, uploads: Sequence[Upload], options: Options, deadline: float, timings: Timings
    ) -> list[Done | ServiceError]:
        self._metrics.upload_bytes.inc(sum(len(upload.data) for upload in uploads))
        crops = await self._in_worker(lambda: [self._crop(upload, options) for upload in uploads])
        good = [crop for crop in crops if isinstance(crop, Crop)]
        if not good:
            return [crop for crop in crops if isinstance(crop, ServiceError)]
        admission = self.batcher.admit(
            items=sum(len(crop.layout.starts) for crop in good),
            nbytes=sum(self._memory(crop) for crop in good),
            deadline=deadline,
        )
        with admission:
            async with asyncio.TaskGroup() as group:
                answers = [
                    crop
                    if isinstance(crop, ServiceError)
                    else group.create_task(self._one(crop, admission, timings))
                    for crop in crops
                ]
        return [answer if isinstance(answer, ServiceError) else answer.result() for answer in answers]

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
            read=lambda: codec.decode(upload.data),
            finish=lambda rgb: codec.encode(rgb, options.format),
        )

    async def _one(self, crop: Crop, admission: Admission, timings: Timings) -> Done | ServiceError:
        try:
            async with asyncio.timeout(admission.deadline - time.monotonic()):
                decoded = await self._in_worker(lambda: self._decode(crop))
                windows = await admission.infer(decoded.windows) if crop.layout.starts else []
                encoded = await self._in_worker(lambda: self._encode(crop, decoded, [w.sr for w in windows]))
        except ServiceError as exc:
            return exc
        except TimeoutError:
            return DeadlineExceeded(EXPIRED)
        except Exception as exc:  # ours to mend, but not a reason to fail the request's other images
            log.exception("internal error")
            failed = InternalError("An unexpected error was logged under this request's id.")
            failed.__cause__ = exc
            return failed
        timings.decode_s = max(timings.decode_s, decoded.seconds)
        timings.queue_s = max(timings.queue_s, *(window.queue_s for window in windows), 0)
        timings.inference_s = max(timings.inference_s, *(window.inference_s for window in windows), 0)
        timings.encode_s = max(timings.encode_s, encoded.seconds)
        return encoded.done

    def _memory(self, crop: Crop) -> int:
        """Bytes of a crop's picture, its answer, and its windows in float32 before and after the network."""
        spec = self._spec
        window = 4 * 3 * spec.height * spec.width * (1 + spec.scale**2)
        return 3 * (prod(crop.size) + prod(crop.layout.output)) + window * len(crop.layout.starts)

    def _decode(self, crop: Crop) -> "_Decoded":
        start = perf_counter()
        rgb = crop.read()
        windows = geometry.split(rgb, crop.layout, self._spec)
        seconds = perf_counter() - start
        self._metrics.decode_seconds.observe(seconds)
        return _Decoded(rgb, windows, seconds)

    def _encode(self, crop: Crop, decoded: "_Decoded", sr: Sequence[Chw]) -> "_Encoded":
        start = perf_counter()
        rgb = geometry.merge(sr, crop.layout, self._spec) if sr else geometry.enlarge(decoded.rgb, crop.layout)
        data = crop.finish(rgb)
        seconds = perf_counter() - start
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.result_bytes.inc(len(data))
        height, width = crop.size
        method: Method = "super_resolved" if sr else "enlarged"
        return _Encoded(Done(data, (width, height), (rgb.shape[1], rgb.shape[0]), method), seconds)

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _tell_if_it_broke(loop: "asyncio.Task[None]") -> None:
    if not loop.cancelled() and loop.exception():
        log.critical("the batcher has stopped; /readyz answers 503 until a restart", exc_info=loop.exception())


@dataclass(frozen=True)
class _Decoded:
    rgb: Rgb
    windows: Nchw
    seconds: float


@dataclass(frozen=True)
class _Encoded:
    done: Done
    seconds: float
