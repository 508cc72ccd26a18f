"""Measures one page: its lines are detected once, and read by each recogniser with and without Text Telescope.

    page -> PP-OCRv6's detector -> boxes -> crops -> plain
                                               | -> quality gate, recogniser named -> named
                                               | -> read; the unsure ones super-resolved, read again -> second

The pictures come from the service's own code, in this process (`app/bulk/in_process.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from app.bulk.in_process import InProcess
from app.errors import BadRegion
from app.imaging.quality_gate import Decision, RoutingPolicy
from app.imaging.regions import locate
from app.imaging.warp import rectify
from app.ocr.engine import OcrEngine, TextLine
from bench.pages_maker import Page
from bench.pages_match import Errors, comparable, errors, joined, matches
from bench.pages_sheet import Quad
from bench.subject import Subject
from model_store.calibration import SecondOpinion
from model_store.pixels import Rgb
from training.calibration.readers import SharedReader
from training.ocr import Reading
from training.readings import Readings

VARIANTS = ("plain", "named", "second")


class Detector(Protocol):
    @property
    def version(self) -> str: ...

    def detect(self, rgb: Rgb) -> list[TextLine]: ...


class RapidOcrAlone:
    """The package's own detection, with its defaults; the model is that of the service."""

    version = f"rapidocr {version('rapidocr')}"

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(params={"Global.log_level": "warning"})

    def detect(self, rgb: Rgb) -> list[TextLine]:
        found = self._engine(np.ascontiguousarray(rgb[:, :, ::-1]), use_det=True, use_cls=False, use_rec=False)
        return (
            []
            if found.boxes is None
            else [
                TextLine(np.asarray(box, np.float64), float(sure))
                for box, sure in zip(found.boxes, found.scores, strict=True)
            ]
        )


DETECTORS: dict[str, Callable[[], Detector]] = {
    "service": lambda: OcrEngine(threads=1),
    "rapidocr": RapidOcrAlone,
}
Read = Callable[[Sequence[Rgb]], list[Reading]]
LEAST_SIDE_PX = 4  # as the service's MIN_SIDE_PX


@dataclass(frozen=True, eq=False)
class Side:
    """One page read by one recogniser in one variant. sent: boxes through the network. kept: their readings kept.

    changes: lines that another number of errors than plain has.
    """

    errors: Errors
    sent: int
    kept: int
    changes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class MeasuredPage:
    """characters: of the true text, without white space. missed: lines without a box.

    beside: boxes without a line. sides: by recogniser and variant.
    """

    name: str
    kind: str
    script: str
    lines: int
    characters: int
    boxes: int
    missed: int
    beside: int
    sides: Mapping[str, Mapping[str, Side]]


@dataclass(frozen=True, eq=False)
class _Boxes:
    page: Page
    quads: Sequence[Quad]
    crops: Sequence[Rgb]
    lines: Sequence[int | None]


@dataclass(frozen=True, eq=False)
class _Variant:
    """The readings of all boxes, and of those through the network the decision (None: plain) and the choice."""

    readings: Sequence[Reading]
    decisions: Sequence[Decision | None]
    kept: Sequence[bool]


def measure_page(
    subject: Subject, detector: Detector, page: Page, readers: Mapping[str, SharedReader], readings: Readings
) -> MeasuredPage:
    boxes = _detected(detector, page)
    sides = {
        name: _sides(subject, boxes, reader.for_script(page.script), readings) for name, reader in readers.items()
    }
    return MeasuredPage(
        page.name,
        page.kind,
        page.script,
        lines=len(page.lines),
        characters=sum(len(comparable(line.text)) for line in page.lines),
        boxes=len(boxes.quads),
        missed=len(page.lines) - len(set(boxes.lines) - {None}),
        beside=sum(line is None for line in boxes.lines),
        sides=sides,
    )


def _detected(detector: Detector, page: Page) -> _Boxes:
    quads, crops = [], []
    for line in detector.detect(page.rgb):
        try:
            region = locate(line.outline, page=page.rgb.shape[:2], units="pixels", min_side_px=LEAST_SIDE_PX)
        except BadRegion:
            continue
        quads.append(line.outline)
        crops.append(rectify(page.rgb, region))
    return _Boxes(page, quads, crops, matches(page.lines, quads))


def _sides(subject: Subject, boxes: _Boxes, reader: SharedReader, readings: Readings) -> dict[str, Side]:
    def read(crops: Sequence[Rgb]) -> list[Reading]:
        return readings.read_with_confidence(reader, crops, label=f"{boxes.page.name}, {reader.name}")

    plain = read(boxes.crops)
    named = _treated(subject, boxes.crops, RoutingPolicy("auto", reader.name))
    variants = {
        "plain": _Variant(plain, [None] * len(plain), [False] * len(plain)),
        "named": _Variant(
            read([rgb for rgb, _ in named]),
            [decision if decision.infers else None for _, decision in named],
            [decision.infers for _, decision in named],
        ),
        "second": _second(subject, boxes.crops, plain, reader.name, read),
    }
    return {name: _side(boxes, variants["plain"], variant) for name, variant in variants.items()}


def _second(
    subject: Subject, crops: Sequence[Rgb], plain: Sequence[Reading], recogniser: str, read: Read
) -> _Variant:
    limits = subject.gate.second_opinions.get(recogniser, SecondOpinion(below=0, margin=0))
    readings = list(plain)
    decisions: list[Decision | None] = [None] * len(plain)
    kept = [False] * len(plain)
    places = [i for i, reading in enumerate(plain) if reading.confidence < limits.below]
    treated = _treated(subject, [crops[i] for i in places], RoutingPolicy("always", recogniser)) if places else []
    for i, (_, decision), again in zip(places, treated, read([rgb for rgb, _ in treated]), strict=True):
        decisions[i] = decision
        if limits.keeps_second(plain[i].confidence, again.confidence):
            readings[i], kept[i] = again, True
    return _Variant(readings, decisions, kept)


def _treated(subject: Subject, crops: Sequence[Rgb], policy: RoutingPolicy) -> list[tuple[Rgb, Decision]]:
    return InProcess(subject.predictor, subject.pipeline, policy=policy)(crops)


def _side(boxes: _Boxes, plain: _Variant, variant: _Variant) -> Side:
    lines, quads = boxes.page.lines, boxes.quads
    before, after = ([reading.text for reading in one.readings] for one in (plain, variant))
    own, others = (errors(lines, boxes.lines, quads, texts) for texts in (after, before))
    texts = [joined(len(lines), boxes.lines, quads, texts) for texts in (before, after)]
    changes = [
        {
            "page": boxes.page.name,
            "errors": [others.lines[i], own.lines[i]],
            "truth": lines[i].text,
            "plain": texts[0][i],
            "read": texts[1][i],
            "boxes": [_box(boxes, plain, variant, j) for j, line in enumerate(boxes.lines) if line == i],
        }
        for i in range(len(lines))
        if own.lines[i] != others.lines[i]
    ]
    return Side(own, sum(decision is not None for decision in variant.decisions), sum(variant.kept), changes)


def _box(boxes: _Boxes, plain: _Variant, variant: _Variant, place: int) -> dict[str, Any]:
    decision = variant.decisions[place]
    treated = {key: value for key, value in asdict(decision).items() if key != "method"} if decision else None
    height, width = boxes.crops[place].shape[:2]
    return {
        "size": [width, height],
        "confidence": [plain.readings[place].confidence, variant.readings[place].confidence],
        "network": treated,
    }


def cer_change(pages: Sequence[MeasuredPage], reader: str, variant: str, *, resamples: int) -> tuple[float, float]:
    """95 % interval of the change in points of the character error rate, pages resampled."""
    characters = np.array([page.characters for page in pages])
    change = np.array(
        [page.sides[reader][variant].errors.total - page.sides[reader]["plain"].errors.total for page in pages]
    )
    chosen = np.random.default_rng(0).integers(len(pages), size=(resamples, len(pages)))
    low, high = np.percentile(100 * change[chosen].sum(axis=1) / characters[chosen].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)
