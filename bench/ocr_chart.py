"""The chart of `python -m bench ocr`: words gained or lost over the plain crop, a panel for each recogniser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.svg import GROUND, INK, RULE, SOFT, document, dot, line, text

COLOURS = {"bicubic": "#9aa5b1", "always": "#c2410c", "auto": "#4338ca", "named": "#0f766e"}
PANEL, GAP, LEFT, TOP, ROW = 240.0, 16.0, 96.0, 108.0, 58.0  # pixels
READER_NAMES = {"rapidocr-v6": "PP-OCRv6", "rapidocr-v4": "PP-OCRv4", "tesseract": "Tesseract"}


def chart(report: dict[str, Any]) -> str:
    """SVG. Every subset one row, each variant a dot with its 95 % interval; right of the line is a gain."""
    figures = report["figures"]
    subsets = list(next(iter(figures.values())))
    reach = _reach(figures)
    width = max(LEFT + len(figures) * (PANEL + GAP), 420)
    height = TOP + ROW * len(subsets) + 44
    body = [*_legend(report), *(_name(subset, row) for row, subset in enumerate(subsets))]
    for place, (reader, found) in enumerate(figures.items()):
        body += _panel(reader, found, LEFT + place * (PANEL + GAP), reach)
    return document(width, height, body, title="Words read through Text Telescope, against the plain crop")


def _reach(figures: dict[str, Any]) -> float:
    """The axis' end, in points, the same in all panels."""
    changes = [row[v]["over_plain"] for found in figures.values() for row in found.values() for v in COLOURS]
    farthest = max(max(abs(change["low"]), abs(change["high"])) for change in changes)
    return next((end for end in (2, 5, 10, 15, 20, 30, 40, 60) if end >= farthest), 100)


def _legend(report: dict[str, Any]) -> Iterator[str]:
    model, data = report["model"]["name"], report["data"]
    yield text(12, 24, f"{model}: words read, points over the plain crop", size=16, bold=True)
    yield text(12, 44, f"{data['words']} words a row; lines are 95 % intervals", size=12, fill=SOFT)
    for place, (variant, colour) in enumerate(COLOURS.items()):
        x = LEFT + 6 + 90 * place
        yield dot(x, 63, fill=colour if variant == "named" else GROUND, stroke=colour)
        yield text(x + 9, 67.5, variant)


def _name(subset: str, row: int) -> str:
    return text(12, TOP + ROW * (row + 0.5) + 4, subset, bold=subset == "all")


def _panel(reader: str, found: dict[str, Any], left: float, reach: float) -> Iterator[str]:
    bottom = TOP + ROW * len(found)

    def at(points: float) -> float:
        return left + PANEL * (points + reach) / (2 * reach)

    yield text(left + PANEL / 2, TOP - 12, READER_NAMES.get(reader, reader), anchor="middle", bold=True)
    for points in (-reach, -reach / 2, 0, reach / 2, reach):
        yield line(at(points), TOP, at(points), bottom, stroke=SOFT if points == 0 else RULE)
        if abs(points) == reach:
            continue  # neighbours' numbers would meet
        yield text(at(points), bottom + 18, f"{points:+g}" if points else "0", size=11, fill=SOFT, anchor="middle")
    for row, variants in enumerate(found.values()):
        if row:
            yield line(left, TOP + ROW * row, left + PANEL, TOP + ROW * row)
        for place, (variant, colour) in enumerate(COLOURS.items()):
            change, y = variants[variant]["over_plain"], TOP + ROW * row + 11 + 12 * place
            yield line(at(change["low"]), y, at(change["high"]), y, stroke=colour, width=2)
            yield dot(at(change["points"]), y, fill=colour if variant == "named" else GROUND, stroke=colour)
    yield text(left + PANEL / 2, bottom + 36, "fewer words  ←   →  more words", size=11, fill=INK, anchor="middle")
