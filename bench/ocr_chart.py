"""The chart of `python -m bench ocr`: words gained with the recogniser named, in a grid of heights and blurs.

Under each grid stand the points over all of its cells, and the ones of second opinions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.calibration.cells import BLURS, HEIGHTS, Cell
from training.calibration.readers import READER_NAMES
from training.calibration.svg import SOFT, box, document, text

SCRIPT_NAMES = {"latin": "Latin words", "digits": "digits", "chinese": "Chinese words"}
LEFT, TOP, BOX, GAP = 148.0, 96.0, 44.0, 22.0  # pixels
ROW = BOX * 0.62
UNDER = 72.0  # of a grid, for its axis and its line of points
GAIN, LOSS, STILL = (15, 118, 110), (194, 65, 12), "#f1f4f6"  # red, green, blue; and of cells without a change
FULL = 15.0  # points of the darkest colour


def chart(report: dict[str, Any]) -> str:
    """SVG. A row of grids for each script, a column for each recogniser; numbers are points over plain."""
    figures = report["figures"]
    scripts = list(next(iter(figures.values())))
    grid_width, grid_height = BOX * len(BLURS), ROW * len(HEIGHTS)
    body = list(_heading(report))
    for column, (reader, found) in enumerate(figures.items()):
        left = LEFT + column * (grid_width + GAP)
        body.append(
            text(left + grid_width / 2, TOP - 14, READER_NAMES.get(reader, reader), anchor="middle", bold=True)
        )
        for row, script in enumerate(scripts):
            body += _grid(found[script], left, TOP + row * (grid_height + UNDER))
    for row, script in enumerate(scripts):
        body += _axis(script, report["data"]["words"][script], TOP + row * (grid_height + UNDER))
    width = LEFT + len(figures) * (grid_width + GAP)
    return document(
        max(width, 560),
        TOP + len(scripts) * (grid_height + UNDER) + 12,
        body,
        title="Words gained over the plain crop by height and blur",
    )


def _heading(report: dict[str, Any]) -> Iterator[str]:
    yield text(
        12, 26, f"{report['model']['name']}: words of 100 gained with the recogniser named", size=16, bold=True
    )
    about = "over the plain crop; every cell another height and blur, with noise and JPEG among its crops"
    yield text(12, 46, about, size=12, fill=SOFT)


def _axis(script: str, words: int, top: float) -> Iterator[str]:
    yield text(12, top + 12, SCRIPT_NAMES.get(script, script), size=12, bold=True)
    yield text(12, top + 28, f"{words} a cell", size=11, fill=SOFT)
    for row, height in enumerate(HEIGHTS):
        yield text(LEFT - 8, top + ROW * (row + 0.5) + 4, f"{height} px", size=11, fill=SOFT, anchor="end")


def _grid(found: dict[str, Any], left: float, top: float) -> Iterator[str]:
    for row, height in enumerate(HEIGHTS):
        for column, blur in enumerate(BLURS):
            points = found[Cell(height, blur).name]["named"]["over_plain"]["points"]
            x, y = left + BOX * column, top + ROW * row
            yield box(x, y, BOX - 2, ROW - 2, fill=colour(points, full=FULL))
            yield text(
                x + BOX / 2 - 1, y + ROW / 2 + 3, f"{points:+.1f}" if points else "0", size=11, anchor="middle"
            )
    for column, blur in enumerate(BLURS):
        under = top + ROW * len(HEIGHTS) + 12
        yield text(left + BOX * (column + 0.5) - 1, under, f"{blur:g}", size=10, fill=SOFT, anchor="middle")
    middle = left + BOX * len(BLURS) / 2
    bottom = top + ROW * len(HEIGHTS)
    yield text(middle, bottom + 27, "blur, of the height", size=10, fill=SOFT, anchor="middle")
    named, second = (found["all"][variant]["over_plain"]["points"] for variant in ("named", "second"))
    points = f"named {named:+.1f}, second opinion {second:+.1f}"
    yield text(middle, bottom + 46, points, size=11, anchor="middle", bold=True)


def colour(points: float, *, full: float) -> str:
    """Green for a gain, orange for a loss; darkest from `full` points on."""
    if abs(points) < 0.05:
        return STILL
    share = 0.12 + 0.6 * min(abs(points), full) / full
    mixed = [round(255 + share * (part - 255)) for part in (GAIN if points > 0 else LOSS)]
    return "#" + "".join(f"{part:02x}" for part in mixed)
