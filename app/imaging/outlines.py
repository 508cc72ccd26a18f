"""The outline of a line of text, as a detector gives it -> its top line and its bottom line, in reading order.

Repeated points, a closing point and points on a straight side change nothing. The first rule that fits is taken:

1. Four corners, clockwise from the text's top left: the top is the first side, the bottom the opposite one.
2. Six or more points in pairs, as TextSnake, CRAFT and CTW1500 write a curved line: half of the points along the
   top, then as many back along the bottom. Points are in pairs if the line through the middles of the pairs is
   longer than a pair's distance, the distances differ little (EVEN), and no pair is aslant to that line (ASLANT).
3. Any other polygon, such as a contour of PaddleOCR's `det_box_type=poly`: its rectangle of least area.

Counter-clockwise points, and a rectangle of least area, do not tell the reading direction. It is from left to
right then, by PaddleOCR's rule (`get_mini_boxes`): the text's top left is the upper one of the two leftmost
corners. No text is mirrored. Four corners whose sides cross are refused.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from app.errors import BadRegion

Points = npt.NDArray[np.float64]  # (n, 2): x and y in pixels
Lines = tuple[Points, Points]  # top and bottom, each (n, 2)
EVEN = 0.6, 1.7  # distances of pairs, as a share of their median; a regular hexagon's are 1, 2 and 1
ASLANT = 0.5  # sine of the least angle between a pair and the line
FLAT = 1e-6  # of the outline's extent: a point this near to the straight line of its neighbours is on it
HOLLOW = 0.02  # area by the least rectangle's; text around a ring has 0.1, a figure of eight nearly 0


def text_lines(outline: Points) -> Lines:
    """outline: (n, 2), n at least 3. Raises BadRegion for one that crosses itself."""
    ring = _without_repeats(outline)
    corners, first = _corners(ring)
    if len(corners) == 4:
        clockwise = _turns(corners) > 0
        if clockwise.all():
            return _sides(corners if first else _from_top_left(corners))
        if not clockwise.any():
            return _sides(_from_top_left(corners[::-1]))
        if clockwise.sum() == 2:
            raise BadRegion("The region's sides cross; its corners must run clockwise from the text's top left.")
    for points in (ring, outline, corners):  # a detector may repeat a point of one line, and count it in
        if lines := _paired(points):
            return lines
    return _sides(_least_rectangle(ring))


def cross(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of vectors (..., 2): positive if b points to the right of a, with y downwards."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _turns(ring: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """At each point; positive where the ring turns clockwise, with y downwards."""
    return cross(ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring)


def _without_repeats(outline: Points) -> Points:
    kept: Points = outline[(outline != np.roll(outline, -1, axis=0)).any(axis=1)]
    return kept if len(kept) else outline[:1]


def _corners(ring: Points) -> tuple[Points, bool]:
    """The points that lie on no straight side, and whether the first point is one of them."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    off_chord = np.abs(cross(ring - before, after - ring))
    is_corner = off_chord > FLAT * np.ptp(ring, axis=0).max() * np.hypot(*(after - before).T)
    return ring[is_corner], bool(is_corner[0])


def _sides(corners: Points) -> Lines:
    return corners[:2], corners[:1:-1]


def _paired(ring: Points) -> Lines | None:
    """By the second rule; None if it does not fit."""
    half, odd = divmod(len(ring), 2)
    if odd or half < 3:
        return None
    top, bottom = ring[:half], ring[: half - 1 : -1]
    if _area(ring) < 0:
        top, bottom = bottom, top
        if top[0, 0] + bottom[0, 0] > top[-1, 0] + bottom[-1, 0]:
            top, bottom = bottom[::-1], top[::-1]
    pairs, steps = bottom - top, np.diff(top + bottom, axis=0) / 2
    distances, lengths = np.hypot(*pairs.T), np.hypot(*steps.T)
    usual = np.median(distances)
    fits = (
        usual < lengths.sum()
        and usual * EVEN[0] < distances.min()
        and distances.max() < usual * EVEN[1]
        and all(
            (cross(steps, pairs[side]) >= ASLANT * lengths * distances[side]).all()
            for side in (slice(1, None), slice(-1))
        )
    )
    return (top, bottom) if fits else None


def _least_rectangle(ring: Points) -> Points:
    rectangle = cv2.minAreaRect(ring.astype(np.float32))
    corners = cv2.boxPoints(rectangle).astype(np.float64)
    if abs(_area(ring)) < HOLLOW * abs(_area(corners)):
        raise BadRegion("The region's outline crosses itself; its points must run around the text.")
    return _from_top_left(corners if _area(corners) > 0 else corners[::-1])


def _from_top_left(corners: Points) -> Points:
    """Clockwise corners, beginning with the upper one of the two leftmost."""
    left = np.argsort(corners[:, 0], kind="stable")[:2]
    return np.roll(corners, -left[np.argmin(corners[left, 1])], axis=0)


def _area(ring: Points) -> float:
    """Positive for a clockwise ring, with y downwards."""
    return float(cross(ring, np.roll(ring, -1, axis=0)).sum() / 2)
