"""Finding and reading text for requests: one thread, one step at a time, a bounded number of pages.

    detect: the whole page in one step;  read: crops in steps of BATCH, so that pages take turns

The engine is opened at the first page, because it takes memory that a service for crops does not need.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from threading import Event
from typing import Protocol, TypeVar

from app.errors import NotInstalled, Overloaded, StartupError
from app.inference.threads import DaemonThreads
from app.ocr.engine import RECOGNISER, OcrEngine, Reading, TextLine
from app.settings import Settings
from app.telemetry.metrics import Metrics
from model_store.pixels import Rgb

T = TypeVar("T")
MAX_PAGES = 16  # at a time; each takes seconds, so more would wait for their deadlines
BATCH = 16  # crops in one step, half a second on two cores
CLOSE_S = 5.0  # for the step in progress: detecting a large page takes a second or two
FIRST_WORK_S = 2.5  # for a megapixel, until a page has been measured
OFF = "TELESCOPE_OCR is off, so this service neither finds nor reads text"
MISSING = (
    "Finding and reading text needs the package rapidocr; install it beside the service: "
    "pip install 'text-telescope[ocr]'"
)
INSTEAD = "Send a page with the boxes of its text to /v1/super-resolve/regions."


class Engine(Protocol):
    """As OcrEngine."""

    @property
    def version(self) -> str: ...

    def detect(self, rgb: Rgb, *, is_cancelled: Callable[[], bool]) -> list[TextLine]: ...

    def read(self, crops: Iterable[Rgb]) -> list[Reading]: ...


class TextReader:
    """The recogniser of a service, from its construction to `close`. name: as calibrations name it."""

    name = RECOGNISER

    def __init__(
        self, settings: Settings, metrics: Metrics, *, open_engine: Callable[..., Engine] = OcrEngine
    ) -> None:
        """Raises StartupError with TELESCOPE_OCR=on if the engine cannot be opened."""
        self._off = settings.ocr == "off"
        self._threads = settings.threads
        self._metrics = metrics
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._thread = DaemonThreads("ocr")  # one: the engine is not thread-safe
        self._pages = 0
        self._work = 0.0  # of these pages, in megapixels, at least one for each
        self._work_s = FIRST_WORK_S
        if settings.ocr == "on":
            self._engine = open_engine(threads=self._threads)

    def check(self) -> None:
        """Raises NotInstalled if the settings switch it off or the package is missing."""
        if self._off or not (self._engine or installed()):
            raise NotInstalled(f"{OFF if self._off else MISSING}. {INSTEAD}")

    def warm(self) -> None:
        """Begin to open the engine, if pages can be read: the first page then takes three seconds less."""
        if not self._off and installed():
            self._thread.submit(self._opened)

    @contextmanager
    def page(self, pixels: int, *, deadline: float) -> Iterator[None]:
        """The turn of one page. deadline: on `time.monotonic`.

        Raises Overloaded if too many are being read, or if their work would not leave this one enough time: pages
        take turns, so with one too many all would miss their deadlines.
        """
        work, started = max(1.0, pixels / 1e6), time.monotonic()
        late = started + (self._work + work) * self._work_s > deadline
        if self._pages >= MAX_PAGES or (self._pages and late):
            wait_s = math.ceil(self._work * self._work_s / self._pages)
            raise Overloaded(f"{self._pages} pages are being read; try again in {wait_s} s.", retry_after_s=wait_s)
        self._pages += 1
        self._work += work
        try:
            yield
            self._work_s += ((time.monotonic() - started) / self._work - self._work_s) / 8
        finally:
            self._pages -= 1
            self._work -= work

    async def version(self) -> str:
        """Package and version. Raises NotInstalled."""
        return await self._step(lambda engine: engine.version)

    async def detect(self, rgb: Rgb) -> list[TextLine]:
        """The lines of text on a page, uint8 (H, W, 3), in reading order. Raises NotInstalled."""
        ended = Event()  # also by the deadline: the engine then stops within a third of a second
        try:
            with self._metrics.ocr_seconds.labels("detect").time():
                return await self._step(lambda engine: engine.detect(rgb, is_cancelled=ended.is_set))
        finally:
            ended.set()

    async def read(self, crops: Sequence[Callable[[], Rgb]]) -> list[Reading]:
        """The text of each crop, in order. crops: functions, called in the thread. Raises NotInstalled."""
        readings: list[Reading] = []
        ended = Event()  # also by the deadline: the engine then stops before its next crop
        try:
            for start in range(0, len(crops), BATCH):
                step = partial(_read, crops[start : start + BATCH], ended)
                with self._metrics.ocr_seconds.labels("read").time():
                    readings += await self._step(step)
        finally:
            ended.set()
        return readings

    def close(self) -> None:
        """Blocking: waits for the step in progress, which the end of the interpreter would abort."""
        self._thread.stop()
        self._thread.join(CLOSE_S)

    def _step(self, step: Callable[[Engine], T]) -> Awaitable[T]:
        return asyncio.wrap_future(self._thread.submit(lambda: step(self._opened())))

    def _opened(self) -> Engine:
        if self._engine is None:
            try:
                self._engine = self._open_engine(threads=self._threads)
            except StartupError as exc:
                raise NotInstalled(f"{exc} {INSTEAD}") from exc
        return self._engine


def _read(crops: Sequence[Callable[[], Rgb]], ended: Event, engine: Engine) -> list[Reading]:
    return engine.read(crop() for crop in crops if not ended.is_set())


def installed() -> str:
    """The package that reads text, with its version; empty if it is not installed."""
    try:
        return f"rapidocr {version('rapidocr')}"
    except PackageNotFoundError:
        return ""
