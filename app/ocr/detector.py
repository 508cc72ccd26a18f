"""A page -> its lines of text, by PP-OCRv6's detector at several scales, a tile at a time.

    page at each scale -> overlapping tiles -> network -> the page's map of text -> outlines
    outlines of the finest scale, then those of each coarser scale in places where nothing has been found

Reducing a large page to the network's usual size loses its small print. At full scale, the network finds no large
print, and takes a blurred paragraph for one line: of lines of 32 px, blurred by 5 px, it finds none, but five of
six at half scale. Maps of tiles are put together before outlines are drawn, so a line across tiles is found whole.
"""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from app.imaging.outlines import Points
from model_store.pixels import Rgb

TILE = 960  # pixels; a third of a second on two cores
STEP = 320  # smaller pictures are padded to multiples of it, since each size is compiled once
MARGIN = 96  # pixels at a tile's inner edges that count for nothing: at 48, print of 100 px falls into pieces
COARSEST = 160  # pixels of the longer side at the coarsest scale, at least
LARGE = 100  # pixels; pieces of taller print are replaced by its outline at a coarser scale
PIECE = 0.6  # of the large print's height; two lines in one outline have half of it each, and stay two
LOWER, COVER = 0.6, 0.5  # of a blurred paragraph: its lines at a coarser scale are lower, and cover half of it
OVERLAP = 0.1  # of the smaller area; outlines that share more are in one place

Line = tuple[Points, float]  # outline and confidence
Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Outliner = Callable[[npt.NDArray[np.float32], tuple[int, int]], tuple[Any, Any]]


def find_lines(network: Network, outliner: Outliner, bgr: Rgb, is_cancelled: Callable[[], bool]) -> list[Line]:
    """Outlines (4, 2) in any order; none if it was cancelled.

    network: (1, 3, h, w) in [-1, 1] -> the probability of text (1, 1, h, w). outliner: such a map and the page's
    size -> outlines on the page, and confidences.
    """
    lines: list[Line] = []
    for scale in _scales(max(bgr.shape)):
        outlines, confidences = outliner(_text_map(network, _scaled(bgr, scale), is_cancelled), bgr.shape[:2])
        found = [
            (np.asarray(outline, np.float64), float(sure))
            for outline, sure in zip(outlines, confidences, strict=True)
        ]
        lines = _joined(lines, found)
    return [] if is_cancelled() else lines


def _scales(longer: int) -> Iterator[float]:
    # At twice the size 12 % more of small, blurred words are found, and outlines lie closer to small letters:
    # PP-OCRv4 gets 0.7 of 100 characters of light screens wrong in the place of 2.6.
    scale = 2.0 if longer <= TILE else 1.0
    while scale >= 1 or longer * scale >= COARSEST:
        yield scale
        scale /= 2


def _scaled(bgr: Rgb, scale: float) -> Rgb:
    if scale == 1:
        return bgr
    height, width = (max(1, round(side * scale)) for side in bgr.shape[:2])
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(bgr, (width, height), interpolation=method), np.uint8)


def _text_map(network: Network, bgr: Rgb, is_cancelled: Callable[[], bool]) -> npt.NDArray[np.float32]:
    """The probability of text at each pixel, float32 (1, 1, H, W); zeros from the tile on that was cancelled."""
    height, width = bgr.shape[:2]
    found = np.zeros((1, 1, height, width), np.float32)
    for rows, inner_rows in _spans(height):
        for columns, inner_columns in _spans(width):
            if is_cancelled():
                return found
            tile = _padded(bgr[rows, columns])
            nchw = np.ascontiguousarray((tile.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
            result = network(nchw)[0, 0, inner_rows.start - rows.start :, inner_columns.start - columns.start :]
            here = found[0, 0, inner_rows, inner_columns]
            here[:] = result[: here.shape[0], : here.shape[1]]
    return found


def _spans(length: int) -> Iterator[tuple[slice, slice]]:
    """Each tile's pixels along one side of the page, and the part of them that it decides."""
    start, done = 0, 0
    while done < length:
        stop = min(start + TILE, length)
        start = max(0, stop - TILE)
        inner = stop if stop == length else stop - MARGIN
        yield slice(start, stop), slice(done, inner)
        start, done = inner - MARGIN, inner


def _padded(tile: Rgb) -> npt.NDArray[Any]:
    below, right = (-side % STEP for side in tile.shape[:2])
    return np.asarray(cv2.copyMakeBorder(tile, 0, below, 0, right, cv2.BORDER_REPLICATE))


def _joined(lines: list[Line], coarser: list[Line]) -> list[Line]:
    """The lines, with those of a coarser scale that lie apart from them, or are large print that lay in pieces.

    A line that is several lower lines at the coarser scale was a blurred paragraph.
    """
    joined = [line for line in lines if not _is_paragraph(line[0], _near(coarser, line[0]))]
    added = []
    for outline, confidence in coarser:
        pieces = [line for line in _near(joined, outline) if _overlap(line[0], outline)]
        if pieces and not _is_large_print(outline, [piece for piece, _ in pieces]):
            continue
        joined = [line for line in joined if not any(line is piece for piece in pieces)]
        added.append((outline, confidence))
    return joined + added


def _is_paragraph(outline: Points, coarser: list[Line]) -> bool:
    lower = [line for line, _ in coarser if _height(line) < LOWER * _height(outline)]
    return len(lower) > 1 and sum(_common(line, outline) for line in lower) > COVER * _area(outline)


def _near(lines: list[Line], outline: Points) -> list[Line]:
    """The lines whose upright boxes touch the outline's."""
    if not lines:
        return []
    corners = np.stack([line for line, _ in lines])  # (n, 4, 2)
    touching = (corners.min(axis=1) <= outline.max(axis=0)) & (corners.max(axis=1) >= outline.min(axis=0))
    return [lines[index] for index in np.flatnonzero(touching.all(axis=1))]


def _overlap(one: Points, other: Points) -> bool:
    return _common(one, other) > OVERLAP * min(_area(one), _area(other))


def _common(one: Points, other: Points) -> float:
    return float(cv2.intersectConvexConvex(one.astype(np.float32), other.astype(np.float32))[0])


def _area(outline: Points) -> float:
    return float(cv2.contourArea(outline.astype(np.float32)))


def _is_large_print(outline: Points, pieces: list[Points]) -> bool:
    height = _height(outline)
    return height >= LARGE and float(np.median([_height(piece) for piece in pieces])) >= PIECE * height


def _height(outline: Points) -> float:
    """The shorter side."""
    return float(min(np.hypot(*(outline[1] - outline[0])), np.hypot(*(outline[3] - outline[0]))))
