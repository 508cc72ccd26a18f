"""The chart of `python -m bench pages`: wrong characters of 100 by kind of page, and their change.

For each recogniser three columns: plain, and the changes with the recogniser named and with second opinions. A
change in bold has a 95 % interval without 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.ocr_chart import STILL, colour
from training.calibration.readers import READER_NAMES
from training.calibration.svg import SOFT, box, document, text

LEFT, TOP, BOX, ROW, GAP = 124.0, 110.0, 76.0, 27.0, 18.0  # pixels
COLUMNS = {"plain": "plain", "named": "named", "second": "second op."}
FULL = 5.0  # points of the darkest colour


def chart(report: dict[str, Any]) -> str:
    """SVG. A column for each recogniser, a row for each kind of page, both scripts together."""
    figures = report["figures"]
    kinds = list(next(iter(figures.values())))
    body = list(_heading(report))
    for row, kind in enumerate(kinds):
        name = "all pages" if kind == "all" else kind
        body.append(text(12, TOP + ROW * (row + 0.5) + 4, name, size=12, bold=kind == "all"))
    for column, (reader, found) in enumerate(figures.items()):
        left = LEFT + column * (len(COLUMNS) * BOX + GAP)
        middle = left + len(COLUMNS) * BOX / 2
        body.append(text(middle, TOP - 28, READER_NAMES.get(reader, reader), anchor="middle", bold=True))
        for place, heading in enumerate(COLUMNS.values()):
            body.append(text(left + BOX * (place + 0.5), TOP - 8, heading, size=11, fill=SOFT, anchor="middle"))
        for row, kind in enumerate(kinds):
            body += _cells(found[kind]["both"], left, TOP + ROW * row)
    width = LEFT + len(figures) * (len(COLUMNS) * BOX + GAP)
    title = "Wrong characters of whole pages, and their change with Text Telescope"
    return document(max(width, 640), TOP + ROW * len(kinds) + 16, body, title=title)


def _heading(report: dict[str, Any]) -> Iterator[str]:
    pages = report["pages"]
    about = (
        f"and their change with the recogniser named and with second opinions; {len(pages)} pages, "
        f"{sum(page['lines'] for page in pages)} lines"
    )
    yield text(12, 26, f"{report['model']['name']}: wrong characters of 100 on whole pages", size=16, bold=True)
    yield text(12, 46, about, size=12, fill=SOFT)
    yield text(12, 62, "green: fewer wrong characters; bold: a 95 % interval without 0", size=12, fill=SOFT)


def _cells(found: dict[str, Any], left: float, top: float) -> Iterator[str]:
    for place, variant in enumerate(COLUMNS):
        own = found[variant]
        change = own.get("change", 0.0)
        x, y = left + BOX * place, top
        shown = f"{change:+.2f}" if change else "0"
        sure = variant != "plain" and (own["high"] < 0 or own["low"] > 0)
        yield box(x, y, BOX - 2, ROW - 2, fill=colour(-change, full=FULL) if change else STILL)
        label = f"{own['cer']:.2f}" if variant == "plain" else shown
        yield text(x + BOX / 2 - 1, y + ROW / 2 + 3, label, size=11, anchor="middle", bold=sure)
