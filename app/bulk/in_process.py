"""Crops through a predictor without a queue or an event loop; for the command line and the benchmarks.

InProcess      RGB in memory:        crop -> prepare -> infer, the largest batch on every stream -> finish
BulkPipeline   a stream of entries:  probe, in chunks -> decode, prepare | infer | finish, encode

`prepare` and `finish` are the service's own (`app/serving/pipeline.py`), so the results equal the service's. Each
stage of BulkPipeline has a thread, and works on one chunk while the next stage works on the chunk before, so the
device always has its next batch. Decoding and encoding also spread over a pool of threads.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from app.bulk.entries import Entry, EntryResult, Failure
from app.bulk.kinds import batched
from app.errors import InferenceFailed, InternalError, ServiceError
from app.imaging.decode import Probed, probe
from app.imaging.encode import Format, check_result, encode
from app.imaging.quality_gate import Decision, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropOptions, CropPipeline, Prepared
from app.settings import Settings
from model_store.pixels import Rgb
from model_store.tiling import Chw, Geometry

T = TypeVar("T")
U = TypeVar("U")
CHUNK_BATCHES = 16  # only the last batch of a chunk and size is padded: 3 % of the work for crops of one tile
CHUNK_BYTES = 32 << 20  # encoded; together with the limit on pixels it bounds the memory of a chunk


class InProcess:
    def __init__(
        self, predictor: Predictor, pipeline: CropPipeline, *, geometry: Geometry = "native", policy: RoutingPolicy
    ) -> None:
        """Raises InvalidParameter for a recogniser that the model was not calibrated for."""
        pipeline.gate.check(policy.recogniser)
        self.predictor = predictor
        self.pipeline = pipeline
        self.options = CropOptions(geometry, policy)

    def __call__(self, crops: Sequence[Rgb]) -> list[tuple[Rgb, Decision]]:
        """One result per crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        prepared = [self.pipeline.prepare(crop, self.options) for crop in crops]
        pairs = zip(prepared, self.infer(prepared), strict=True)
        return [(self.pipeline.finish(one, sr), one.decision) for one, sr in pairs]

    def infer(self, prepared: Sequence[Prepared]) -> list[list[Chw]]:
        """The SR tiles of each crop, in order. Raises InferenceFailed."""
        tiles = [tile for one in prepared for tile in one.tiles]
        sr_tiles: dict[int, Chw] = {}
        for size in {(tile.shape[1], tile.shape[2]) for tile in tiles}:
            indices = (index for index, tile in enumerate(tiles) if tile.shape[1:] == size)
            for some in batched(indices, self.predictor.streams * self.predictor.sizes(size)[-1]):
                sr = self.predictor.run_blocking(np.stack([tiles[index] for index in some]))
                sr_tiles |= zip(some, sr, strict=True)
        ordered = (sr_tiles[index] for index in range(len(tiles)))
        return [list(islice(ordered, len(one.tiles))) for one in prepared]


Step = tuple[Entry, T] | EntryResult  # with the value for the next stage; or the result, if copied or failed
Inferred = tuple[Prepared, Sequence[Chw]]  # with its SR tiles


class BulkPipeline:
    def __init__(self, in_process: InProcess, *, image_format: Format, settings: Settings) -> None:
        self._in_process = in_process
        self._pipeline = in_process.pipeline
        self._options = in_process.options
        self._format: Format = image_format
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads or os.cpu_count(), thread_name_prefix="codec")

    def __call__(self, entries: Iterable[Entry]) -> Iterator[EntryResult]:
        """One result per entry, in order. Raises only exceptions of the `entries` iterator itself."""
        decoded = _ahead(self._in_pool(self._decode, chunk) for chunk in self._chunks(entries))
        inferred = _ahead(self._infer(chunk) for chunk in decoded)
        for chunk in _ahead(self._in_pool(self._encode, chunk) for chunk in inferred):
            for step in chunk:
                yield step if isinstance(step, EntryResult) else EntryResult(step[0], *step[1])

    def _in_pool(self, stage: Callable[[T], U], chunk: list[Step[T]]) -> list[Step[U]]:
        return list(self._pool.map(partial(_isolated, stage), chunk))

    def _chunks(self, entries: Iterable[Entry]) -> Iterator[list[Step[Probed]]]:
        predictor = self._in_process.predictor
        most = CHUNK_BATCHES * predictor.streams * predictor.batch_sizes[-1]
        chunk: list[Step[Probed]] = []
        nbytes = pixels = 0
        for entry in entries:
            chunk.append(step := self._probed(entry))
            nbytes += len(entry.data)
            pixels += step[1].width * step[1].height if isinstance(step, tuple) else 0
            if len(chunk) >= most or nbytes >= CHUNK_BYTES or pixels >= self._settings.max_image_pixels:
                yield chunk
                chunk, nbytes, pixels = [], 0, 0
        if chunk:
            yield chunk

    def _probed(self, entry: Entry) -> Step[Probed]:
        if entry.failure or not entry.is_picture:
            return EntryResult(entry, b"" if entry.failure else entry.data, failure=entry.failure)
        return _isolated(self._probe, (entry, entry.data))

    def _probe(self, data: bytes) -> Probed:
        settings = self._settings
        picture = probe(data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
        check_result(self._format, *self._pipeline.output_size(picture.height, picture.width, self._options))
        return picture

    def _decode(self, picture: Probed) -> Prepared:
        return self._pipeline.prepare(picture.decode(), self._options)

    def _infer(self, chunk: list[Step[Prepared]]) -> list[Step[Inferred]]:
        """Batches hold tiles of several pictures; if one fails, each picture is tried once more, alone."""
        try:
            sr_tiles = iter(self._in_process.infer([step[1] for step in chunk if isinstance(step, tuple)]))
        except InferenceFailed:
            return [_isolated(lambda one: (one, self._in_process.infer([one])[0]), step) for step in chunk]
        return [_isolated(lambda one: (one, next(sr_tiles)), step) for step in chunk]

    def _encode(self, inferred: Inferred) -> tuple[bytes, Decision]:
        prepared, sr = inferred
        return encode(self._pipeline.finish(prepared, sr), self._format), prepared.decision


def _isolated(stage: Callable[[T], U], step: Step[T]) -> Step[U]:
    """The step with the stage's value; an exception becomes the failure of this entry alone."""
    if isinstance(step, EntryResult):
        return step
    entry, value = step
    try:
        return entry, stage(value)
    except Exception as exc:
        code, detail = (exc.code, str(exc)) if isinstance(exc, ServiceError) else (InternalError.code, repr(exc))
        return EntryResult(entry, failure=Failure(entry.name, code, detail))


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the caller uses the current one."""
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(next, items, None)
        while (made := making.result()) is not None:
            making = thread.submit(next, items, None)
            yield made
