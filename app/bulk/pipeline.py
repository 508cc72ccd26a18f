"""Entries of a unit -> their results, in order, such that the device always has its next batch.

    entries -> probe, in chunks -> decode, prepare | infer, in full batches | finish, encode

Each stage has a thread, and works on one chunk while the next stage works on the chunk before. Decoding and
encoding also spread over a pool of threads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from app.bulk.entries import Entry, EntryResult, Failure
from app.bulk.in_process import InProcess
from app.errors import InferenceFailed, InternalError, ServiceError
from app.imaging.decode import Probed, probe
from app.imaging.encode import Format, check_result, encode
from app.serving.pipeline import Prepared
from app.settings import Settings
from model_store.tiling import Chw

T = TypeVar("T")
CHUNK_BATCHES = 16  # only the last batch of a chunk and size is padded: 3 % of the work for crops of one tile
CHUNK_BYTES = 32 << 20  # encoded; together with the limit on pixels it bounds the memory of a chunk


@dataclass(frozen=True)
class _Step:
    """The state of one entry between two stages; only `result` for an entry that is copied or has failed."""

    result: EntryResult
    picture: Probed | None = None
    prepared: Prepared | None = None
    sr: Sequence[Chw] = ()


Stage = Callable[[_Step], _Step]


class BulkPipeline:
    def __init__(self, in_process: InProcess, *, image_format: Format, settings: Settings, threads: int) -> None:
        self._in_process = in_process
        self._format: Format = image_format
        self._settings = settings
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="codec")

    def __call__(self, entries: Iterable[Entry]) -> Iterator[EntryResult]:
        """One result per entry, in order. Raises only exceptions of the `entries` iterator itself."""
        decoded = _ahead(self._in_pool(self._decode, chunk) for chunk in self._chunks(entries))
        inferred = _ahead(self._infer(chunk) for chunk in decoded)
        for chunk in _ahead(self._in_pool(self._encode, chunk) for chunk in inferred):
            yield from (step.result for step in chunk)

    def _in_pool(self, stage: Stage, steps: Sequence[_Step]) -> list[_Step]:
        return list(self._pool.map(partial(_isolated, stage), steps))

    def _chunks(self, entries: Iterable[Entry]) -> Iterator[list[_Step]]:
        most = CHUNK_BATCHES * self._in_process.largest_batch
        chunk: list[_Step] = []
        nbytes = pixels = 0
        for entry in entries:
            step = _isolated(self._probe, _Step(EntryResult(entry, failure=entry.failure)))
            chunk.append(step)
            nbytes += len(entry.data)
            pixels += step.picture.width * step.picture.height if step.picture else 0
            if len(chunk) >= most or nbytes >= CHUNK_BYTES or pixels >= self._settings.max_image_pixels:
                yield chunk
                chunk, nbytes, pixels = [], 0, 0
        if chunk:
            yield chunk

    def _probe(self, step: _Step) -> _Step:
        entry, settings = step.result.entry, self._settings
        if entry.failure:
            return step
        if not entry.is_picture:
            return _Step(replace(step.result, data=entry.data))
        picture = probe(entry.data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
        check_result(self._format, *self._in_process.output_size(picture.height, picture.width))
        return replace(step, picture=picture)

    def _decode(self, step: _Step) -> _Step:
        if not step.picture:
            return step
        return _Step(step.result, prepared=self._in_process.prepare(step.picture.decode()))

    def _infer(self, steps: Sequence[_Step]) -> list[_Step]:
        """Batches hold tiles of several pictures; if one fails, each picture is tried once more, alone."""
        prepared = [step.prepared for step in steps if step.prepared]
        try:
            sr_tiles = iter(self._in_process.infer(prepared))
        except InferenceFailed:
            return [_isolated(self._infer_alone, step) for step in steps]
        return [replace(step, sr=next(sr_tiles)) if step.prepared else step for step in steps]

    def _infer_alone(self, step: _Step) -> _Step:
        if not step.prepared:
            return step
        (sr,) = self._in_process.infer([step.prepared])
        return replace(step, sr=sr)

    def _encode(self, step: _Step) -> _Step:
        if not step.prepared:
            return step
        finished = self._in_process.finish(step.prepared, step.sr)
        data = encode(finished.rgb, self._format)
        return _Step(replace(step.result, data=data, decision=finished.decision))


def _isolated(stage: Stage, step: _Step) -> _Step:
    """The stage's step; an exception becomes the failure of this entry alone."""
    try:
        return stage(step)
    except Exception as exc:
        code, detail = (exc.code, str(exc)) if isinstance(exc, ServiceError) else (InternalError.code, repr(exc))
        return _Step(replace(step.result, failure=Failure(step.result.entry.name, code, detail)))


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the caller uses the current one."""
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(lambda: list(islice(items, 1)))
        while made := making.result():
            making = thread.submit(lambda: list(islice(items, 1)))
            yield from made
