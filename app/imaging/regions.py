"""Regions of a page as a text detector gives them -> their places on the page.

    JSON -> parse -> locate -> Region; app/imaging/warp.py cuts out its crop, and puts the result back

A region may be written in five ways, also mixed in one request; points run clockwise from the text's top left:

    [[x, y], [x, y], [x, y], [x, y]]    PaddleOCR `dt_polys`, RapidOCR `boxes`, EasyOCR `bbox`, docTR polygons
    [[x, y], [x, y], [x, y], ...]       a polygon: TextSnake, CRAFT, PaddleOCR with `det_box_type=poly`
    [x, y, x, y, x, y, ...]             the same, six or more numbers: ICDAR, MMOCR, Azure
    [x_min, y_min, x_max, y_max]        a box
    [[x_min, y_min], [x_max, y_max]]    docTR's boxes

`app/imaging/outlines.py` has the rules by which a polygon becomes a straight crop. A box is cut off at the page's
edge. Any other region keeps its shape, and the page's edge is repeated in the part outside: its points may lie
outside by the page's width and height at most, and its crop may have twice the page's pixels. A malformed region
has an error of its own. The time to read all regions is bounded by the length of the JSON.
"""

import json
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter

from app.errors import BadRegion, InvalidParameter, TooManyRegions
from app.imaging.outlines import Points, text_lines
from app.imaging.warp import Region, along, is_upright

Units = Literal["pixels", "relative"]
MAX_SIDES_PX = 16_000  # height and width of a resampled crop together: OpenCV takes pictures of 32,766 a side
MAX_STRIPS = 64  # of a curved line
FAR = 1e9  # a coordinate beyond it may as well be at it, and nothing overflows
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_WRITTEN = TypeAdapter[Any](
    tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    | Annotated[list[Coordinate], Field(min_length=6)]
    | Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=2)]
)


def parse(text: str | bytes, *, max_regions: int) -> list[Points | BadRegion]:
    """The outlines of a request's regions, each (n, 2) or its own error, in order, not yet compared with the page.

    Raises InvalidParameter for text that is no JSON list (null is an empty one), or TooManyRegions.
    """
    try:
        listed = json.loads(text, parse_int=_number)
    except UnicodeDecodeError as exc:
        raise InvalidParameter("regions is not text, but must be JSON; are it and the page exchanged?") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"regions is not JSON ({exc}).") from exc
    if listed is None:  # a detector's answer for a page without text
        return []
    if not isinstance(listed, list):
        raise InvalidParameter(
            f"regions is {_shown(listed)}; it must be a JSON list of regions alone, such as a detector's boxes or "
            "dt_polys; send [] for a page without text."
        )
    if len(listed) > max_regions:
        raise TooManyRegions(
            f"The request has {len(listed)} regions; at most {max_regions} are taken. Send several."
        )
    return [_outline(region) for region in listed]


def _number(digits: str) -> float:
    return int(digits) if len(digits) < 20 else float(digits)  # int() refuses thousands of digits


def _outline(region: Any) -> Points | BadRegion:  # noqa: ANN401  any JSON value
    try:
        points = np.array(_WRITTEN.validate_python(region), np.float64).reshape(-1, 2)
    except ValueError:  # of pydantic, or an odd number of numbers
        return BadRegion(
            f"The region is {_shown(region)}; it must be three or more points [[x, y], ...] clockwise from the "
            "text's top left, [x_min, y_min, x_max, y_max] or [[x_min, y_min], [x_max, y_max]]."
        )
    if len(points) > 2:
        return points
    (left, top), (right, bottom) = points
    if left >= right or top >= bottom:
        return BadRegion(
            f"The box is {_shown(region)}; x_min must be less than x_max, and y_min than y_max. "
            "They are two corners, not a corner, a width and a height."
        )
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _shown(region: Any) -> str:  # noqa: ANN401  any JSON value
    return json.dumps(region)[:80]


def locate(outline: Points, *, page: tuple[int, int], units: Units, min_side_px: int) -> Region:
    """The region on a page of (height, width).

    Raises BadRegion if it lies outside the page, crosses itself, or is too small or too large.
    """
    extent = np.array(page[::-1], np.float64)
    _check_units(outline, units)
    outline = outline.clip(-FAR, FAR) * (extent if units == "relative" else 1)
    _check_reach(outline, extent)
    top, bottom = text_lines(outline.clip(0, extent) if is_upright(outline) else outline)
    if is_upright(np.concatenate([top, bottom[::-1]])):
        top, bottom = top.clip(0, extent), bottom.clip(0, extent)
    region = _measured(top, bottom)
    _check_size(region, page)
    if not _touches(region, extent):
        raise BadRegion(f"The region lies outside {_size(extent)}.")
    if min(region.height, region.width) < min_side_px:
        raise BadRegion(
            f"The region is {region.width} x {region.height} pixels; each side must be at least {min_side_px} to "
            "hold text."
        )
    return region


def _measured(top: Points, bottom: Points) -> Region:
    """Of a curved line, the middle line's length and the usual height."""
    heights = np.hypot(*(bottom - top).T)
    if len(top) == 2:
        widths = (np.hypot(*(line[1] - line[0])) for line in (top, bottom))
        return Region(top, bottom, height=round(heights.max()), width=round(max(widths)))
    knots = _lengths(top, bottom)
    rounded = np.linspace(0, knots[-1], 4 * MAX_STRIPS + 1)
    top, bottom = (_smooth(line, rounded, knots) for line in (top, bottom))
    knots = _lengths(top, bottom)
    height, width = round(float(np.median(heights))), round(knots[-1])
    strips = min(MAX_STRIPS, max(2, 4 * width // max(1, height)))
    at = np.linspace(0, knots[-1], strips + 1)
    return Region(along(top, at, knots), along(bottom, at, knots), height, width)


def _lengths(top: Points, bottom: Points) -> npt.NDArray[np.float64]:
    """Along the middle line, up to each of its points."""
    steps = np.hypot(*np.diff(top + bottom, axis=0).T) / 2
    return np.concatenate([[0], np.cumsum(steps)])


def _smooth(line: Points, at: npt.NDArray[np.float64], knots: npt.NDArray[np.float64]) -> Points:
    """The line at these positions, as a cubic Hermite curve: three points a side are enough for an arc."""
    apart = np.concatenate([[True], np.diff(knots) > 0])
    line, knots = line[apart], knots[apart]
    if len(line) < 3:
        return along(line, at, knots)
    slopes = np.gradient(line, knots, axis=0, edge_order=2)
    i = np.searchsorted(knots[1:-1], at, side="right")
    length = (knots[i + 1] - knots[i])[:, None]
    t = (at - knots[i])[:, None] / length
    return np.asarray(
        (1 + 2 * t) * (1 - t) ** 2 * line[i]
        + t**2 * (3 - 2 * t) * line[i + 1]
        + length * t * (1 - t) * ((1 - t) * slopes[i] - t * slopes[i + 1])
    )


def _check_units(outline: Points, units: Units) -> None:
    if units == "relative" and np.abs(outline).max() > 2:
        raise BadRegion(
            "The region is in pixels, but ?units=relative takes shares of the page's width and height, 0 to 1."
        )
    if units == "pixels" and outline.min() >= 0 and 0 < outline.max() <= 1:
        raise BadRegion(
            "The region lies within the page's first pixel; for shares of its sides add ?units=relative."
        )


def _check_reach(outline: Points, extent: Points) -> None:
    if (outline.max(axis=0) <= 0).any() or (outline.min(axis=0) >= extent).any():
        raise BadRegion(f"The region lies outside {_size(extent)}.")
    if not is_upright(outline) and ((outline < -extent).any() or (outline > 2 * extent).any()):
        raise BadRegion(f"The region reaches too far outside {_size(extent)}: its width or height at most.")


def _check_size(region: Region, page: tuple[int, int]) -> None:
    height, width = region.height, region.width
    if not region.is_box and (height * width > 2 * prod(page) or height + width > MAX_SIDES_PX):
        raise BadRegion(
            f"The region is {width} x {height} pixels; at most twice the page's pixels are taken, and "
            f"{MAX_SIDES_PX} as the sum of the sides."
        )


def _touches(region: Region, extent: Points) -> bool:
    """Whether one of a grid of its points lies on the page."""
    knots = np.linspace(0, 1, len(region.top))
    top, bottom = (along(line, np.linspace(0, 1, 65), knots)[:, None] for line in (region.top, region.bottom))
    grid = top + np.linspace(0, 1, 17)[:, None] * (bottom - top)  # (65, 17, 2)
    return bool(((grid > 0) & (grid < extent)).all(axis=2).any())


def _size(extent: Points) -> str:
    return f"the page of {extent[0]:.0f} x {extent[1]:.0f} pixels"
