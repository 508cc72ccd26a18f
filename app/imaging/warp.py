"""A region of a page -> its upright crop, and the crop's result -> back into its place on the enlarged page.

A quadrilateral is one homography. A curved line is bent straight: each column of its crop is a straight line from
its top to its bottom. On the way back it is cut into strips that are nearly straight.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from app.imaging.outlines import Points, cross
from model_store.pixels import Rgb

Map = npt.NDArray[np.floating[Any]]  # (height, width, 2): for each pixel of one picture, x and y in another
Window = tuple[slice, slice]  # rows and columns
FEATHER_PX = 2  # pixels of the page over which a result fades in, so that no frame shows around it
CUBIC_PX = 3  # reach of the cubic filter
BLOCK_PIXELS = 2**20  # resampled at once; their maps take a hundred times as many bytes


@dataclass(frozen=True)
class Region:
    """A region on the page, in its pixels.

    top, bottom: (n, 2) each, in reading order; n is 2 unless the line is curved, and the points are evenly spaced
    then. height, width: of the upright crop.
    """

    top: Points
    bottom: Points
    height: int
    width: int

    @property
    def is_box(self) -> bool:
        """Whether the crop can be sliced out of the page without resampling."""
        points = np.concatenate([self.top, self.bottom[::-1]])
        return is_upright(points) and bool((points % 1 == 0).all())


def is_upright(corners: Points) -> bool:
    """Whether these are the corners of a box, clockwise from its top left."""
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return np.array_equal(corners, [[left, top], [right, top], [right, bottom], [left, bottom]])


def along(line: Points, at: npt.NDArray[Any], knots: npt.NDArray[Any]) -> Points:
    """The points of a line at these positions, (n, 2); knots: the positions of the line's own points."""
    return np.stack([np.interp(at, knots, line[:, i]) for i in (0, 1)], axis=1)


def rectify(page: Rgb, region: Region) -> Rgb:
    """The region's upright crop, uint8 (region.height, region.width, 3); outside the page its edge is repeated."""
    if region.is_box:
        return page[_window(region, _whole(page))]
    near = _window(region, _whole(page), margin=CUBIC_PX + 1)
    origin = np.array([near[1].start, near[0].start], np.float32)
    crop = np.empty((region.height, region.width, 3), np.uint8)
    for block in _blocks(_whole(crop)):
        x, y = cv2.split(_on_page(region, block) - origin)
        crop[block] = cv2.remap(page[near], x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return crop


def paste(page: Rgb, results: Sequence[tuple[Region, Rgb]], *, scale: int) -> None:
    """Blend each result (scale * height, scale * width, 3) into its region of the enlarged page, in order."""
    for region, result in results:
        enlarged = Region(scale * region.top, scale * region.bottom, *result.shape[:2])
        fading = _fading(result.shape[:2], FEATHER_PX * scale)
        window = _window(enlarged, _whole(page))
        if region.is_box:
            _blend(page[window], result, fading)
            continue
        for block in _blocks(window):
            x, y = cv2.split(_in_crop(enlarged, block))
            placed = cv2.remap(result, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            _blend(page[block], placed, cv2.remap(fading, x, y, cv2.INTER_LINEAR))


def _blend(under: Rgb, over: npt.NDArray[Any], weight: npt.NDArray[Any]) -> None:
    alpha = weight[..., None]
    under[:] = np.rint(alpha * over + (1 - alpha) * under).clip(0, 255).astype(np.uint8)


def _fading(shape: tuple[int, ...], feather: int) -> npt.NDArray[np.float32]:
    """Weights (H, W): 1 inside, falling towards every edge."""
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1 for n in shape)
    nearest: npt.NDArray[np.float32] = np.minimum(rows[:, None], columns).astype(np.float32)
    return (nearest / np.float32(feather + 1)).clip(max=1)


def _on_page(region: Region, block: Window) -> Map:
    """For each pixel of the crop's block, its place on the page."""
    if len(region.top) == 2:
        corners, crop = _corners(region)
        return _moved(block, cv2.getPerspectiveTransform(crop, corners))
    columns, rows = _centres(block)
    knots = np.linspace(0, region.width, len(region.top))
    top, bottom = along(region.top, columns[0], knots), along(region.bottom, columns[0], knots)
    down = rows[..., None] / region.height
    return (top + down * (bottom - top) - 0.5).astype(np.float32)


def _in_crop(region: Region, block: Window) -> Map:
    """For each pixel of the page's block, its place in the crop, at least two pixels outside if it has none."""
    if len(region.top) == 2:
        places = _moved(block, cv2.getPerspectiveTransform(*_corners(region)))
        share = (places + 0.5) / (region.width, region.height)
        places[~_belongs(share)] = -2
        return places
    found = np.full((*(span.stop - span.start for span in block), 2), -2, np.float32)
    size = np.array([region.width / (len(region.top) - 1), region.height])  # of a strip of the crop
    for i in range(len(region.top) - 1):
        strip = np.concatenate([region.top[i : i + 2], region.bottom[i : i + 2]])
        rows, columns = window = _clipped(strip, block, margin=1)
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        share = _in_strip(strip, np.stack(_centres(window), axis=2))
        belongs = _belongs(share)
        y, x = block[0].start, block[1].start
        here = found[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        here[belongs] = (share[belongs] + (i, 0)) * size - 0.5
    return found


def _belongs(share: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether shares of a width and a height (H, W, 2) lie between 0 and 1, with room for rounding."""
    return np.asarray((np.abs(share - 0.5) < 0.5 + 1e-6).all(axis=2))


def _in_strip(strip: Points, places: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Places on the page (H, W, 2) as shares of a strip's width and height, the inverse of `_on_page`.

    strip: top left, top right, bottom left and bottom right. A place h from the top left is u across + v down +
    u v apart, so v solves a quadratic equation.
    """
    across, down, h = strip[1] - strip[0], strip[2] - strip[0], places - strip[0]
    apart = strip[3] - strip[2] - across
    linear, constant = cross(h, apart) + cross(across, down), cross(h, across)
    with np.errstate(divide="ignore", invalid="ignore"):  # a strip without area has no places
        root = np.sqrt((linear**2 - 4 * cross(apart, down) * constant).clip(0))
        v = (-2 * constant / (linear + root))[..., None]
        row = across + v * apart
        u = ((h - v * down) * row).sum(axis=2, keepdims=True) / (row**2).sum(axis=2, keepdims=True)
    return np.concatenate([u, v], axis=2)


def _corners(region: Region) -> tuple[Map, Map]:
    """The corners of a quadrilateral, on the page and in the crop, each (4, 2)."""
    height, width = region.height, region.width
    corners = np.concatenate([region.top, region.bottom[::-1]]).astype(np.float32)
    return corners, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def _moved(window: Window, matrix: npt.NDArray[Any]) -> Map:
    """Each pixel's place after a homography (3, 3)."""
    return (cv2.perspectiveTransform(np.stack(_centres(window), axis=2), matrix) - 0.5).astype(np.float32)


def _centres(window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """x and y of the pixels' centres, each (H, W), at half-integer coordinates."""
    rows, columns = (np.arange(span.start, span.stop) + 0.5 for span in window)
    x, y = np.meshgrid(columns, rows)
    return x, y


def _whole(picture: Rgb) -> Window:
    return slice(0, picture.shape[0]), slice(0, picture.shape[1])


def _blocks(window: Window) -> Iterator[Window]:
    rows, columns = window
    step = max(1, BLOCK_PIXELS // max(1, columns.stop - columns.start))
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop)), columns


def _window(region: Region, within: Window, *, margin: int = 0) -> Window:
    return _clipped(np.concatenate([region.top, region.bottom]), within, margin=margin)


def _clipped(points: npt.NDArray[Any], within: Window, *, margin: int) -> Window:
    """The pixels that the points and a margin around them touch, as far as they lie within a window."""
    (left, top), (right, bottom) = np.floor(points.min(axis=0)) - margin, np.ceil(points.max(axis=0)) + margin
    return _span(top, bottom, within[0]), _span(left, right, within[1])


def _span(low: float, high: float, within: slice) -> slice:
    start = int(min(max(low, within.start), within.stop))
    return slice(start, int(max(min(high, within.stop), start)))
