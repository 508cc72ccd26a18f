"""The chart of `python -m bench pages`: wrong characters of 100 by kind of page, before and after.

For each recogniser and kind a hollow dot (plain), a small one (recogniser named) and a full one (second opinion).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log10
from typing import Any

from training.calibration.readers import READER_NAMES
from training.calibration.svg import GROUND, INK, SOFT, document, dot, line, text

LEFT, TOP, WIDTH, GAP, ROW = 128.0, 112.0, 236.0, 70.0, 30.0  # pixels
GAIN, LOSS = "#0f766e", "#c2410c"
LEAST, MOST = 0.1, 100.0  # ends of the logarithmic axis, wrong characters of 100
TICKS = (0.1, 0.3, 1, 3, 10, 30, 100)


def chart(report: dict[str, Any]) -> str:
    """SVG. A column for each recogniser, a row for each kind of page, both scripts together."""
    figures = report["figures"]
    kinds = list(next(iter(figures.values())))
    body = list(_heading(report))
    for column, (reader, found) in enumerate(figures.items()):
        left = LEFT + column * (WIDTH + GAP)
        body.append(text(left + WIDTH / 2, TOP - 16, READER_NAMES.get(reader, reader), anchor="middle", bold=True))
        body += _axis(left, len(kinds))
        for row, kind in enumerate(kinds):
            body += _row(found[kind]["both"], left, TOP + ROW * (row + 0.5), bold=kind == "all")
    for row, kind in enumerate(kinds):
        name = "all pages" if kind == "all" else kind
        body.append(text(12, TOP + ROW * (row + 0.5) + 4, name, size=12, bold=kind == "all"))
    width = LEFT + len(figures) * (WIDTH + GAP) + 4
    title = "Wrong characters of whole pages with and without Text Telescope"
    return document(max(width, 640), TOP + ROW * len(kinds) + 52, body, title=title)


def _heading(report: dict[str, Any]) -> Iterator[str]:
    pages = report["pages"]
    yield text(12, 26, f"{report['model']['name']}: wrong characters of 100 on whole pages", size=16, bold=True)
    about = f"{len(pages)} pages, {sum(page['lines'] for page in pages)} lines, Latin and Chinese; less is better"
    yield text(12, 46, about, size=12, fill=SOFT)
    yield dot(18, 64, fill=GROUND, stroke=SOFT)
    yield text(28, 68, "plain", size=12)
    yield dot(78, 64, fill=GROUND, stroke=GAIN, radius=2.5)
    yield text(88, 68, "recogniser named", size=12)
    yield dot(204, 64, fill=GAIN, stroke=GAIN)
    yield text(214, 68, "second opinion (orange: more errors than plain), and its change in points", size=12)


def _axis(left: float, rows: int) -> Iterator[str]:
    bottom = TOP + ROW * rows
    for tick in TICKS:
        x = _x(left, tick)
        yield line(x, TOP, x, bottom)
        yield text(x, bottom + 16, f"{tick:g}", size=10, fill=SOFT, anchor="middle")
    yield text(left + WIDTH / 2, bottom + 34, "wrong characters of 100", size=10, fill=SOFT, anchor="middle")


def _row(found: dict[str, Any], left: float, y: float, *, bold: bool) -> Iterator[str]:
    plain, named, second = (_x(left, found[variant]["cer"]) for variant in ("plain", "named", "second"))
    change = found["second"]["change"]
    colour = LOSS if change > 0 else GAIN
    yield line(plain, y, second, y, stroke=colour, width=2)
    yield dot(plain, y, fill=GROUND, stroke=SOFT)
    yield dot(named, y, fill=GROUND, stroke=LOSS if found["named"]["change"] > 0 else GAIN, radius=2.5)
    yield dot(second, y, fill=colour, stroke=colour)
    yield text(left + WIDTH + 10, y + 4, f"{change:+.1f}", size=11, fill=colour if change else INK, bold=bold)


def _x(left: float, cer: float) -> float:
    share = log10(min(MOST, max(LEAST, cer)) / LEAST) / log10(MOST / LEAST)
    return left + WIDTH * share
