"""Entries of a unit -> their results, in order, such that the device always has its next batch.

    entries -> probe, in chunks -> decode, prepare | infer, in full batches | finish, encode

Each stage has a thread, and works on one chunk while the next stage works on the chunk before. Decoding and
encoding also spread over a pool of threads.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from app.bulk.entries import Entry, EntryResult, Failure
from app.bulk.in_process import InProcess
from app.errors import InferenceFailed, InternalError, ServiceError
from app.imaging.decode import Probed, probe
from app.imaging.encode import Format, check_result, encode
from app.imaging.quality_gate import Decision
from app.serving.pipeline import Prepared
from app.settings import Settings
from model_store.tiling import Chw

T = TypeVar("T")
U = TypeVar("U")
CHUNK_BATCHES = 16  # only the last batch of a chunk and size is padded: 3 % of the work for crops of one tile
CHUNK_BYTES = 32 << 20  # encoded; together with the limit on pixels it bounds the memory of a chunk


@dataclass(frozen=True)
class _Step(Generic[T]):
    """An entry between two stages, with the value that one stage makes and the next one takes."""

    entry: Entry
    value: T


Chunk = list[_Step[T] | EntryResult]  # a result: the entry is copied or has failed, and skips all further stages
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
                yield step if isinstance(step, EntryResult) else EntryResult(step.entry, *step.value)

    def _in_pool(self, stage: Callable[[T], U], chunk: Chunk[T]) -> Chunk[U]:
        return list(self._pool.map(partial(_isolated, stage), chunk))

    def _chunks(self, entries: Iterable[Entry]) -> Iterator[Chunk[Probed]]:
        most = CHUNK_BATCHES * self._in_process.predictor.batch_sizes[-1]
        chunk: Chunk[Probed] = []
        nbytes = pixels = 0
        for entry in entries:
            chunk.append(step := self._probed(entry))
            nbytes += len(entry.data)
            pixels += step.value.width * step.value.height if isinstance(step, _Step) else 0
            if len(chunk) >= most or nbytes >= CHUNK_BYTES or pixels >= self._settings.max_image_pixels:
                yield chunk
                chunk, nbytes, pixels = [], 0, 0
        if chunk:
            yield chunk

    def _probed(self, entry: Entry) -> _Step[Probed] | EntryResult:
        if entry.failure or not entry.is_picture:
            return EntryResult(entry, b"" if entry.failure else entry.data, failure=entry.failure)
        return _isolated(self._probe, _Step(entry, entry.data))

    def _probe(self, data: bytes) -> Probed:
        settings = self._settings
        picture = probe(data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
        check_result(self._format, *self._pipeline.output_size(picture.height, picture.width, self._options))
        return picture

    def _decode(self, picture: Probed) -> Prepared:
        return self._pipeline.prepare(picture.decode(), self._options)

    def _infer(self, chunk: Chunk[Prepared]) -> Chunk[Inferred]:
        """Batches hold tiles of several pictures; if one fails, each picture is tried once more, alone."""
        try:
            sr_tiles = iter(self._in_process.infer([step.value for step in chunk if isinstance(step, _Step)]))
        except InferenceFailed:
            return [
                _isolated(lambda prepared: (prepared, self._in_process.infer([prepared])[0]), step)
                for step in chunk
            ]
        return [_isolated(lambda prepared: (prepared, next(sr_tiles)), step) for step in chunk]

    def _encode(self, inferred: Inferred) -> tuple[bytes, Decision]:
        prepared, sr = inferred
        return encode(self._pipeline.finish(prepared, sr), self._format), prepared.decision


def _isolated(stage: Callable[[T], U], step: _Step[T] | EntryResult) -> _Step[U] | EntryResult:
    """The step with the stage's value; an exception becomes the failure of this entry alone."""
    if isinstance(step, EntryResult):
        return step
    try:
        return _Step(step.entry, stage(step.value))
    except Exception as exc:
        code, detail = (exc.code, str(exc)) if isinstance(exc, ServiceError) else (InternalError.code, repr(exc))
        return EntryResult(step.entry, failure=Failure(step.entry.name, code, detail))


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the caller uses the current one."""
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(next, items, None)
        while (made := making.result()) is not None:
            making = thread.submit(next, items, None)
            yield made
