"""Entries of a unit -> results, in order, so that the device always has its next batch.

    entries -> chunks -> decode, decide, tiles | infer, in full batches | merge, encode

Each stage has a thread and works on the chunk after the one that the next stage has; decoding and encoding spread
over a pool besides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from app.bulk.entries import Entry, Failure, Result
from app.bulk.in_process import InProcess
from app.errors import InferenceFailed, InternalError, ServiceError
from app.http.problems import KINDS
from app.imaging.decode import Probed, probe
from app.imaging.encode import Format, check_result, encode
from app.serving.pipeline import Prepared
from app.settings import Settings
from model_store.tiling import Chw

T = TypeVar("T")
CHUNK_BATCHES = 16  # only a chunk's last batch of each size is padded: 3 % of the work for crops of one tile
CHUNK_BYTES = 32 << 20  # encoded; with the limit on one picture's pixels it bounds the memory of large ones


@dataclass(frozen=True)
class _Step:
    """An entry on its way; prepared: None for what is copied or has failed."""

    result: Result
    prepared: Prepared | None = None
    sr: Sequence[Chw] = ()

    def failed(self, failure: Failure) -> "_Step":
        return _Step(replace(self.result, failure=failure))


class Pipeline:
    def __init__(self, in_process: InProcess, *, image_format: Format, settings: Settings, threads: int) -> None:
        self._in_process = in_process
        self._format: Format = image_format
        self._settings = settings
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="codec")

    def __call__(self, entries: Iterable[Entry]) -> Iterator[Result]:
        """One result for each entry, in order. Raises only what reading the entries raises."""
        chunks = self._chunks(entries)
        decoded = _ahead(list(self._pool.map(self._decode, chunk)) for chunk in chunks)
        inferred = _ahead(self._infer(chunk) for chunk in decoded)
        for chunk in _ahead(list(self._pool.map(self._encode, chunk)) for chunk in inferred):
            yield from (step.result for step in chunk)

    def _chunks(self, entries: Iterable[Entry]) -> Iterator[list[Entry]]:
        most = CHUNK_BATCHES * self._in_process.largest_batch
        chunk: list[Entry] = []
        nbytes = pixels = 0
        for entry in entries:
            chunk.append(entry)
            nbytes += len(entry.data)
            pixels += self._pixels(entry)
            if len(chunk) >= most or nbytes >= CHUNK_BYTES or pixels >= self._settings.max_image_pixels:
                yield chunk
                chunk, nbytes, pixels = [], 0, 0
        if chunk:
            yield chunk

    def _pixels(self, entry: Entry) -> int:
        if not entry.is_picture or entry.failure:
            return 0
        try:
            picture = self._probe(entry)
        except ServiceError:
            return 0
        return picture.width * picture.height

    def _probe(self, entry: Entry) -> Probed:
        settings = self._settings
        return probe(entry.data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)

    def _decode(self, entry: Entry) -> _Step:
        if entry.failure or not entry.is_picture:
            return _Step(Result(entry, entry.data, failure=entry.failure))
        return _guarded(_Step(Result(entry)), partial(self._prepared, entry))

    def _prepared(self, entry: Entry) -> _Step:
        picture = self._probe(entry)
        check_result(self._format, *self._in_process.output(picture.height, picture.width))
        return _Step(Result(entry), self._in_process.prepare(picture.decode()))

    def _infer(self, steps: Sequence[_Step]) -> list[_Step]:
        """Batches hold tiles of several pictures; when one fails, each picture is tried once more, alone."""
        waiting = [step.prepared for step in steps if step.prepared]
        try:
            answers = iter(self._in_process.infer(waiting))
        except InferenceFailed:
            return [_guarded(step, partial(self._alone, step)) for step in steps]
        return [replace(step, sr=next(answers)) if step.prepared else step for step in steps]

    def _alone(self, step: _Step) -> _Step:
        if not step.prepared:
            return step
        (sr,) = self._in_process.infer([step.prepared])
        return replace(step, sr=sr)

    def _encode(self, step: _Step) -> _Step:
        return _guarded(step, partial(self._encoded, step))

    def _encoded(self, step: _Step) -> _Step:
        if not step.prepared:
            return step
        answered = self._in_process.finish(step.prepared, step.sr)
        data = encode(answered.rgb, self._format)
        return _Step(replace(step.result, data=data, decision=answered.decision))


def _guarded(step: _Step, work: Callable[[], _Step]) -> _Step:
    """One bad picture is listed and spares the others."""
    try:
        return work()
    except ServiceError as exc:
        return step.failed(Failure(step.result.entry.name, KINDS[type(exc)].code, str(exc)))
    except Exception as exc:
        return step.failed(Failure(step.result.entry.name, KINDS[InternalError].code, repr(exc)))


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(lambda: list(islice(items, 1)))
        while made := making.result():
            making = thread.submit(lambda: list(islice(items, 1)))
            yield from made
