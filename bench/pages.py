"""Whole pages: detected, cut into lines and read, with and without Text Telescope.

    pages with known text (training/pages) -> lines of the service's detector, and of the package rapidocr alone
      -> each recogniser, in every way (ocr_ways.py) -> characters that are wrong, missing or added, of 100

Missed lines and text beside the lines count. Changes are points over the plain lines; their 95 % intervals are
over pages, and bold ones are without 0. After an interruption the same command goes on.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from app.errors import BadRegion
from app.imaging.regions import locate
from app.imaging.warp import rectify
from app.ocr.engine import OcrEngine
from bench.harness.options import MODEL, READING, Options, Value
from bench.harness.report import Report, Table
from bench.ocr_ways import WAYS, Subject, open_subject, read_in_every_way
from training.calibration.readers import READER_NAMES, SharedReader, shared_readers
from training.chart import grid, subplots
from training.data.fonts import find_fonts
from training.pages.errors import comparable, errors, matches
from training.pages.kinds import KINDS
from training.pages.make import Page, make_pages
from training.pages.sheet import Quad
from training.pages.texts import SCRIPTS
from training.paired import Difference, difference
from training.readings import Readings

OPTIONS: Options = {
    **MODEL,
    "readers": Value(READING["readers"].full, quick="rapidocr-v6"),
    "parts": Value(",".join(KINDS), quick="subtitle"),
    "scripts": Value(",".join(SCRIPTS), quick="latin"),
    "limit": Value(None, quick=1, kind=int),
    "seed": Value(2026),
}
CHANGES = ("named", "second")
ALONE = "rapidocr-v6"  # the recogniser of the service, and of the package rapidocr by itself
HARM = 0.3  # points of wrong characters that no kind should gain
FULL = 5.0  # points of the chart's darkest colour


class Measured(NamedTuple):
    """counted: by `recogniser, way` the wrong characters; `alone, ...` is of the lines that rapidocr finds."""

    page: Page
    counted: Counter[str]


Pages = Sequence[Measured]


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    names, scripts, kinds = (value.split(",") for value in (args.readers, args.scripts, args.parts))
    found = list(_read(args, names, scripts, kinds))
    rows = {kind: [one for one in found if one.page.kind == kind] for kind in kinds} | {"all pages": found}
    each = {f"{k}, {s}": [one for one in rows[k] if one.page.script == s] for k, s in product(kinds, scripts)}
    keys = [f"{name}, {way}" for name in names for way in CHANGES]
    changes = {f"{key}, {row}": _change(pages, key) for row, pages in each.items() for key in keys}
    harmed = [[key, change.text(2)] for key, change in changes.items() if change.points > HARM]
    tables = {
        "kinds": _table("wrong characters of 100: plain, and their change", rows, names, "second"),
        "named": _table("the same with the recogniser named", rows, names, "named"),
        "scripts": _table("every kind and script", each, names, *CHANGES),
        "harmed_kinds": Table(f"over {HARM} more wrong characters than plain", ["", "points"], harmed),
    }
    facts = {"pages": str(len(found)), "harmed": f"{len(harmed)} of {len(changes)}"}
    facts |= _facts(rows) if ALONE in names else {}
    figures = {one.page.name: {"fonts": one.page.fonts, **one.counted} for one in found}
    figure, axes = subplots(1, len(names), size=(1.5 + 3.2 * len(names), 1.0 + 0.32 * len(rows)))
    figure.suptitle("wrong characters of 100 on whole pages, and their change", weight="bold")
    for own, name in zip(axes.flat, names, strict=True):
        values = [[_change(pages, f"{name}, {way}").points for way in CHANGES] for pages in rows.values()]
        labels = [f"{row}   {_share(pages, f'{name}, plain'):.1f}" for row, pages in rows.items()]
        grid(own, values, rows=labels, columns=[WAYS[way] for way in CHANGES], full=FULL, better=-1)
        own.set_title(READER_NAMES.get(name, name), weight="bold")
    return Report(figures, tables, facts, {"pages": figure})


def _read(args: argparse.Namespace, names: list[str], scripts: list[str], kinds: list[str]) -> Iterator[Measured]:
    from rapidocr import RapidOCR

    subject, service = replace(open_subject(args), one_view=True), OcrEngine(threads=1)
    rapidocr: Any = RapidOCR(params={"Global.log_level": "warning"})  # the type of its result depends on the flags
    with (
        closing(subject.predictor),
        shared_readers(list({*names, ALONE}), scripts) as readers,
        Readings(args.work / "readings.jsonl") as readings,
    ):
        pages = make_pages(find_fonts(), seed=args.seed, kinds=kinds, scripts=scripts, limit=args.limit)
        for page in tqdm(pages, desc="pages", unit="page", disable=None):
            outlines = [line.outline for line in service.detect(page.rgb)]
            count = _counted(subject, page, outlines, [readers[name] for name in names], readings)
            boxes = rapidocr(page.rgb[:, :, ::-1].copy(), use_det=True, use_cls=False, use_rec=False).boxes
            outlines = [] if boxes is None else [np.asarray(box, np.float64) for box in boxes]
            alone = _counted(subject, page, outlines, [readers[ALONE]], readings)
            yield Measured(page, count + Counter({f"alone, {key}": value for key, value in alone.items()}))


def _counted(
    subject: Subject, page: Page, outlines: Iterable[Quad], readers: Iterable[SharedReader], readings: Readings
) -> Counter[str]:
    quads, crops = [], []
    for outline in outlines:
        with suppress(BadRegion):
            region = locate(outline, page=page.rgb.shape[:2], units="pixels", min_side_px=4)
            crops.append(rectify(page.rgb, region))
            quads.append(outline)
    found = matches(page.lines, quads)
    count = Counter(lines=len(page.lines), boxes=len(quads), beside=found.count(None))
    count["missed"] = len(page.lines) - len(set(found) - {None})
    count["characters"] = sum(len(comparable(line.text)) for line in page.lines)
    for reader in readers:
        ways = read_in_every_way(subject, reader.for_script(page.script), readings, crops, {})
        for way, (texts, sent) in ways.items():
            count[f"{reader.name}, {way}"] = errors(page.lines, found, quads, [one.text for one in texts]).total
            count[f"{reader.name}, {way}, sent"] = int(sent.sum())
    return count


def _share(pages: Pages, key: str, whole: str = "characters") -> float:
    return 100 * sum(one.counted[key] for one in pages) / max(1, sum(one.counted[whole] for one in pages))


def _change(pages: Pages, after: str, before: str = "") -> Difference:
    """before: the plain reading of the same lines by default."""
    before = before or f"{after.partition(',')[0]}, plain"
    change = [one.counted[after] - one.counted[before] for one in pages]
    return difference(np.array(change, float), np.array([one.counted["characters"] for one in pages], float))


def _table(title: str, rows: Mapping[str, Pages], names: Sequence[str], *ways: str) -> Table:
    columns = [f"{READER_NAMES.get(name, name)} {WAYS[way]}" for name in names for way in ("plain", *ways)]
    cells = [[row, str(sum(one.counted["lines"] for one in pages))] for row, pages in rows.items()]
    for (own, pages), name in product(zip(cells, rows.values(), strict=True), names):
        own += [f"{_share(pages, f'{name}, plain'):.2f}"]
        own += [_change(pages, f"{name}, {way}").text(2) for way in ways]
    return Table(title, ["wrong characters of 100", "lines", *columns], cells)


def _facts(rows: Mapping[str, Pages]) -> dict[str, str]:
    """By kind: the service beside rapidocr alone."""
    facts = {}
    for row, pages in rows.items():
        kind = row.replace(" ", "_")
        facts[f"service_{kind}"] = f"{_share(pages, f'{ALONE}, second'):.2f}"
        facts[f"rapidocr_{kind}"] = f"{_share(pages, f'alone, {ALONE}, plain'):.2f}"
        change = _change(pages, f"{ALONE}, second", f"alone, {ALONE}, plain")
        facts[f"service_over_rapidocr_{kind}"] = change.text(2, bold=False)
        for key in ("lines", "missed", "beside", "alone, missed"):
            facts[f"{key.replace(', ', '_')}_{kind}"] = f"{sum(one.counted[key] for one in pages):,}"
    return facts
