"""One page whose text is found, and read if asked: lines in, super-resolved where that helps, the surer text out.

    page -> detect -> lines -> crops ->                            -> quality gate ->          network
    with read:        lines -> crops -> read -> unsure of it? -> super-resolve -> read again -> the surer reading

`below` and `margin` of the model's calibration say how unsure, and how much surer
(`client/text_telescope/second_opinion.py` takes the same steps with a client's own recogniser).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from time import perf_counter
from typing import Literal

import numpy as np

from app.errors import BadRegion, ServiceError, TooManyRegions
from app.imaging import encode
from app.imaging.encode import Format
from app.imaging.quality_gate import DEFAULT_POLICY, QualityGate, RoutingPolicy
from app.ocr.engine import Reading, TextLine
from app.ocr.layout import is_one_line, may_be_one_line
from app.ocr.reader import TextReader
from app.serving.page import Page, RegionSource
from app.serving.request_scope import counted, until
from app.serving.runner import Crop, CropResult, CropRunner, EncodedPicture, Timings
from app.telemetry.metrics import ModelMetrics
from model_store.calibration import SecondOpinion
from model_store.pixels import Rgb, Size

Layout = Literal["auto", "page", "line"]
Kept = Literal["plain", "super_resolved"]
UNCALIBRATED = SecondOpinion(below=1, margin=0)  # read every line again, and keep the surer reading


@dataclass(frozen=True)
class PageReadingOptions:
    """The treatment that a request asks for.

    read: read every line before and after. pictures: return those of the lines. policy: without `read` that of
    every line; with it, mode "always" super-resolves every line, and any other those that are read unsurely.
    """

    read: bool = False
    recompose: bool = False
    pictures: bool = True
    layout: Layout = "auto"
    policy: RoutingPolicy = DEFAULT_POLICY


@dataclass(frozen=True)
class LineReading:
    """Readings of one line as it is, and super-resolved if it was."""

    plain: Reading
    super_resolved: Reading | None = None
    kept: Kept = "plain"

    @property
    def best(self) -> Reading:
        return self.super_resolved if self.super_resolved and self.kept == "super_resolved" else self.plain


@dataclass(frozen=True)
class LineResult:
    """One line of a page. line: confidence 1 if nothing was detected. reading: None if it was not read."""

    line: TextLine
    result: CropResult | ServiceError
    reading: LineReading | None = None


@dataclass(frozen=True)
class PageReading:
    """lines: in reading order. page: recomposed, if the request asked for it. recogniser: empty if not read."""

    size: Size
    lines: list[LineResult]
    page: EncodedPicture | None
    recogniser: str = ""
    recogniser_version: str = ""

    @property
    def text(self) -> str:
        """A line of text for each line of the page that was read."""
        return "\n".join(line.reading.best.text for line in self.lines if line.reading and line.reading.best.text)


class PageReader:
    """Takes the steps for one page."""

    def __init__(
        self,
        page: Page,
        options: PageReadingOptions,
        image_format: Format,
        *,
        reader: TextReader,
        runner: CropRunner,
        gate: QualityGate,
    ) -> None:
        self._page = page
        self._options = options
        self._format = image_format
        self._reader = reader
        self._runner = runner
        self._opinion = gate.second_opinions.get(reader.name, UNCALIBRATED)
        self._lines: list[TextLine] = []
        self._sources: list[RegionSource] = []

    async def run(
        self, metrics: ModelMetrics, *, max_lines: int, deadline: float, timings: Timings
    ) -> PageReading:
        """deadline: on `time.monotonic`. Raises ServiceError when the request as a whole is refused."""
        call, admit = self._runner.call, partial(self._runner.admit, deadline=deadline)
        done: list[CropResult | ServiceError] = []
        turn = self._reader.page(prod(self._page.size), deadline=deadline)
        with turn, admit([], more_bytes=self._page.nbytes):
            async with until(deadline):
                await call(self._page.decode)
                with _timed(timings, "detect_s"):
                    await self._find(max_lines)
                with _timed(timings, "read_s"):
                    plain = await self._read([source.decode for source in self._sources])
                crops = await call(self._crops, plain)
            self._runner.check_size(crops, more_bytes=self._page.nbytes)
            with counted(metrics, done, images=len(crops)), admit(crops) as admission:
                done += await self._runner.run(crops, admission, timings)
            async with until(deadline):
                with _timed(timings, "read_s"):
                    readings = await self._read_again(plain, done)
                recomposed = await call(self._recompose, crops, done, readings)
                lines = await call(self._results, done, readings)
                version = await self._reader.version() if self._options.read else ""
        metrics.read(reading.kept for reading in readings if reading)
        return PageReading(self._page.size, lines, recomposed, self._reader.name if version else "", version)

    async def _find(self, max_lines: int) -> None:
        """Raises TooManyRegions."""
        height, width = self._page.size
        layout = self._options.layout
        whole = [TextLine(np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64), 1.0)]
        if layout == "line" or (layout == "auto" and is_one_line(height, width)):
            found = whole
        else:
            found = await self._reader.detect(self._page.rgb)
        if not found and layout == "auto" and may_be_one_line(height, width):
            found = whole
        if len(found) > max_lines:
            raise TooManyRegions(
                f"The page has {len(found)} lines of text; at most {max_lines} are taken. Send it in parts."
            )
        for line in found:
            try:
                self._sources.append(self._page.source(line.outline))
                self._lines.append(line)
            except BadRegion:  # thinner than a letter
                continue

    async def _read(self, crops: Sequence[Callable[[], Rgb]]) -> list[Reading]:
        return await self._reader.read(crops) if self._options.read else []

    def _crops(self, plain: Sequence[Reading]) -> list[Crop | ServiceError]:
        """Blocking. plain: of each line, or empty."""
        policy = self._options.policy
        policies = [self._policy(reading) for reading in plain] or [policy] * len(self._lines)
        crops: list[Crop | ServiceError] = []
        for source, own in zip(self._sources, policies, strict=True):
            try:
                crops.append(self._page.crop(source, own, None, encoded=self._options.pictures))
            except ServiceError as exc:
                crops.append(exc)
        return crops

    def _policy(self, plain: Reading) -> RoutingPolicy:
        policy = RoutingPolicy(self._options.policy.mode, self._reader.name)
        return policy if policy.mode == "always" else replace(policy, sure=plain.confidence >= self._opinion.below)

    async def _read_again(
        self, plain: Sequence[Reading], results: Sequence[CropResult | ServiceError]
    ) -> list[LineReading | None]:
        """The readings of each line, in order; None without `read`."""
        if not self._options.read:
            return [None] * len(results)
        again = {
            index: result.rgb
            for index, result in enumerate(results)
            if isinstance(result, CropResult) and result.rgb is not None and result.decision.infers
        }
        second = dict(zip(again, await self._read([partial(_same, rgb) for rgb in again.values()]), strict=True))
        return [self._reading(own, second.get(index)) for index, own in enumerate(plain)]

    def _reading(self, plain: Reading, second: Reading | None) -> LineReading:
        if second and self._opinion.keeps_second(plain.confidence, second.confidence):
            return LineReading(plain, second, "super_resolved")
        return LineReading(plain, second)

    def _recompose(
        self,
        crops: Sequence[Crop | ServiceError],
        results: Sequence[CropResult | ServiceError],
        readings: Sequence[LineReading | None],
    ) -> EncodedPicture | None:
        """Blocking. The page with the lines that gained in their places; None if it was not asked for."""
        if not self._options.recompose:
            return None
        gained = [own is None or own.kept == "super_resolved" for own in readings]
        kept = [crop for crop, own in zip(crops, gained, strict=True) if own]
        return self._page.recompose(kept, [result for result, own in zip(results, gained, strict=True) if own])

    def _results(
        self, results: Sequence[CropResult | ServiceError], readings: Sequence[LineReading | None]
    ) -> list[LineResult]:
        """Blocking: encodes the pictures."""
        return [
            LineResult(line, self._encoded(result), reading)
            for line, result, reading in zip(self._lines, results, readings, strict=True)
        ]

    def _encoded(self, result: CropResult | ServiceError) -> CropResult | ServiceError:
        if isinstance(result, ServiceError) or result.rgb is None:
            return result
        data = encode.encode(result.rgb, self._format) if self._options.pictures else b""
        return replace(result, data=data, rgb=None)


@contextmanager
def _timed(timings: Timings, phase: str) -> Iterator[None]:
    start = perf_counter()
    yield
    setattr(timings, phase, getattr(timings, phase) + perf_counter() - start)


def _same(rgb: Rgb) -> Rgb:
    return rgb
