"""Uploaded bytes in, super-resolved bytes out. Knows no HTTP.

    probe every header -> admit the whole request -> for each image: decode -> tiles -> batcher -> encode

Decoding and encoding run in worker threads, so the event loop stays free to admit, cancel and answer.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

import numpy as np

from app import codec, geometry
from app.batcher import EXPIRED, Admission, Batcher, Limits
from app.codec import Format, ImageInfo
from app.errors import DeadlineExceeded, InternalError, ServiceError
from app.geometry import Geometry
from app.metrics import Metrics
from app.predictor import Predictor
from app.settings import Settings
from model_store.pixels import Nchw
from model_store.store import Artefact

T = TypeVar("T")
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
            max_items=settings.max_queue_images,
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
        infos = await self._in_worker(lambda: [self._probe(upload, options) for upload in uploads])
        good = [info for info in infos if isinstance(info, ImageInfo)]
        if not good:
            return [info for info in infos if isinstance(info, ServiceError)]
        admission = self.batcher.admit(
            items=sum(geometry.tile_count(info.height, info.width) for info in good),
            nbytes=sum(self._memory(info) for info in good),
            deadline=deadline,
        )
        with admission:
            async with asyncio.TaskGroup() as group:
                answers = [
                    info
                    if isinstance(info, ServiceError)
                    else group.create_task(self._one(upload, admission, options, timings))
                    for upload, info in zip(uploads, infos, strict=True)
                ]
        return [answer if isinstance(answer, ServiceError) else answer.result() for answer in answers]

    async def _one(
        self, upload: Upload, admission: Admission, options: Options, timings: Timings
    ) -> Done | ServiceError:
        try:
            async with asyncio.timeout(admission.deadline - time.monotonic()):
                decoded = await self._in_worker(lambda: self._decode(upload))
                inferred = await admission.infer(decoded.tiles)
                sr = np.stack([tile.sr for tile in inferred])
                encoded = await self._in_worker(lambda: self._encode(sr, decoded, options))
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
        timings.queue_s = max(timings.queue_s, *(tile.queue_s for tile in inferred))
        timings.inference_s = max(timings.inference_s, *(tile.inference_s for tile in inferred))
        timings.encode_s = max(timings.encode_s, encoded.seconds)
        return encoded.done

    def _probe(self, upload: Upload, options: Options) -> ImageInfo | ServiceError:
        try:
            info = codec.probe(
                upload.data,
                max_pixels=self._settings.max_image_pixels,
                min_side_px=self._settings.min_side_px,
            )
            if options.geometry == "native":
                scale = self._spec.scale
                codec.check_result(options.format, height=scale * info.height, width=scale * info.width)
        except ServiceError as exc:
            return exc
        return info

    def _memory(self, info: ImageInfo) -> int:
        """Bytes of the decoded picture and of its output."""
        return 3 * info.width * info.height * (1 + self._spec.scale**2)

    def _decode(self, upload: Upload) -> "_Decoded":
        start = perf_counter()
        rgb = codec.decode(upload.data)
        tiles = geometry.split(rgb, self._spec)
        seconds = perf_counter() - start
        self._metrics.decode_seconds.observe(seconds)
        return _Decoded(tiles, width=rgb.shape[1], height=rgb.shape[0], seconds=seconds)

    def _encode(self, sr: Nchw, decoded: "_Decoded", options: Options) -> "_Encoded":
        start = perf_counter()
        rgb = geometry.merge(
            sr, height=decoded.height, width=decoded.width, geometry=options.geometry, spec=self._spec
        )
        data = codec.encode(rgb, options.format)
        seconds = perf_counter() - start
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.result_bytes.inc(len(data))
        return _Encoded(Done(data, (decoded.width, decoded.height), (rgb.shape[1], rgb.shape[0])), seconds)

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _tell_if_it_broke(loop: "asyncio.Task[None]") -> None:
    if not loop.cancelled() and loop.exception():
        log.critical("the batcher has stopped; /readyz answers 503 until a restart", exc_info=loop.exception())


@dataclass(frozen=True)
class _Decoded:
    tiles: Nchw
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class _Encoded:
    done: Done
    seconds: float
