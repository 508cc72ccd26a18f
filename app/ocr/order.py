"""Outlines of lines -> their reading order: rows from left to right, columns of prose one after the other.

    outlines -> turned level by their usual angle -> boxes -> columns, if a gutter parts long lines -> rows

Cells of a table and prices of a receipt are short, so they are read by rows.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.imaging.outlines import Points

Boxes = npt.NDArray[np.float64]  # (n, 4): left, top, right, bottom
Indices = npt.NDArray[np.intp]
PROSE = 8  # times its height is the usual line of a column; shorter ones are cells
COLUMN_LINES = 3  # at least, in a column
CROSSING = 0.25  # of the lines at most run across a gutter: headings, which end the columns above
ROW = 0.5  # of the lower line's height; lines whose middles are nearer are in one row


def reading_order(outlines: Sequence[Points]) -> list[int]:
    """The lines' indices as a person reads them. outlines: (4, 2) each, clockwise from the text's top left."""
    if not outlines:
        return []
    corners = np.stack(outlines)  # (n, 4, 2)
    angle = _angle(corners[:, 1] - corners[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    level = corners @ np.array([[cos, -sin], [sin, cos]])
    boxes = np.concatenate([level.min(axis=1), level.max(axis=1)], axis=1)
    return [int(index) for index in _ordered(boxes, np.arange(len(boxes)))]


def _angle(sides: Points) -> float:
    """The usual direction of the longer half of these sides, (n, 2), in radians; the longer, the surer."""
    along = sides[:, 0] + 1j * sides[:, 1]
    longer = along[np.abs(along) >= np.median(np.abs(along))]
    total = longer.sum()  # angles are taken from here, as those of -179 and 179 degrees have no useful median
    return float(np.angle(total) + np.median(np.angle(longer * np.conj(total))))


def _ordered(boxes: Boxes, chosen: Indices) -> list[np.intp]:
    gutter = _gutter(boxes[chosen])
    if gutter is None:
        return _by_rows(boxes, chosen)
    left, right = chosen[boxes[chosen, 2] <= gutter], chosen[boxes[chosen, 0] >= gutter]
    crossing = np.setdiff1d(chosen, np.concatenate([left, right]))
    headings = sorted(crossing, key=lambda index: float(boxes[index, [1, 3]].mean()))
    order: list[np.intp] = []
    above = -np.inf
    for heading in [*headings, None]:
        below = np.inf if heading is None else boxes[heading, [1, 3]].mean()
        for column in (left, right):
            middles = boxes[column][:, [1, 3]].mean(axis=1)
            order += _ordered(boxes, column[(above <= middles) & (middles < below)])
        order += [] if heading is None else [heading]
        above = below
    return order


def _gutter(boxes: Boxes) -> float | None:
    """x of the gap between two columns of prose with the fewest lines across it; None if there is none."""
    if len(boxes) < 2 * COLUMN_LINES:
        return None
    lefts, rights = boxes[:, 0], boxes[:, 2]
    across = ((lefts[:, None] < rights) & (rights[:, None] > rights)).sum(axis=0)  # of each line's right end
    for index in np.argsort(across, kind="stable"):
        if across[index] > CROSSING * len(boxes):
            return None
        left, right = boxes[rights <= rights[index]], boxes[lefts >= rights[index]]
        if _is_prose(left) and _is_prose(right) and _are_beside(left, right):
            return float(rights[index])
    return None


def _is_prose(column: Boxes) -> bool:
    if len(column) < COLUMN_LINES:
        return False
    widths, heights = (column[:, 2:] - column[:, :2]).T
    return bool(np.median(widths) >= PROSE * np.median(heights))


def _are_beside(left: Boxes, right: Boxes) -> bool:
    """Whether a gap of half a line parts them, and half of the shorter column lies beside the other."""
    gap = right[:, 0].min() - left[:, 2].max()
    top, bottom = max(left[:, 1].min(), right[:, 1].min()), min(left[:, 3].max(), right[:, 3].max())
    shorter = min(np.ptp(column[:, [1, 3]]) for column in (left, right))
    return bool(gap >= np.median(left[:, 3] - left[:, 1]) / 2 and bottom - top >= shorter / 2)


def _by_rows(boxes: Boxes, chosen: Indices) -> list[np.intp]:
    middles, heights = boxes[:, [1, 3]].mean(axis=1), boxes[:, 3] - boxes[:, 1]
    rows: list[list[np.intp]] = []
    for index in chosen[np.argsort(middles[chosen], kind="stable")]:
        last = rows[-1][-1] if rows else None
        if last is not None and middles[index] - middles[last] < ROW * min(heights[index], heights[last]):
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda i: float(boxes[i, 0]))]
