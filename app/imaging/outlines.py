"""The outline of a line of text, as a detector gives it -> its top line and its bottom line, in reading order.

Repeated points, a closing point and points on a straight side change nothing. The first rule that fits is taken:

1. Four corners, clockwise from the text's top left: the top is the first side, the bottom the opposite one.
2. Six or more points in pairs, as TextSnake, CRAFT and CTW1500 write a curved line: half of the points along the
   top, then as many back along the bottom. Points are in pairs if the line through the middles of the pairs is
   longer than a pair's distance, the distances differ little (EVEN), and no pair is aslant to that line (ASLANT).
3. A contour that bends, such as PaddleOCR's `det_box_type=poly` gives: it fills less than STRAIGHT of its
   rectangle of least area, and pairs that fit the second rule are found on it. Its ends are the two places between
   which its sides lie closest together.
4. Any other polygon: its rectangle of least area.

Counter-clockwise points, contours and rectangles do not tell the reading direction. It is from left to right then;
for a rectangle by PaddleOCR's rule (`get_mini_boxes`): the text's top left is the upper one of the two leftmost
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
NEAR = 1e-3  # pixels: a point this near to the next one repeats it
STRAIGHT = 0.77  # area by the least rectangle's; contours of straight lines have 0.8 and more, an ellipse 0.79
PLACES, PAIRS = 25, 16  # of each end of a contour that are tried at once; pairs between two ends
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
    rectangle = _least_rectangle(ring)
    is_bent = abs(_area(ring)) < STRAIGHT * abs(_area(rectangle))
    return (is_bent and _between_ends(ring)) or _sides(rectangle)


def cross(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of vectors (..., 2): positive if b points to the right of a, with y downwards."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _turns(ring: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """At each point; positive where the ring turns clockwise, with y downwards."""
    return cross(ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring)


def _without_repeats(outline: Points) -> Points:
    apart = np.abs(outline - np.roll(outline, -1, axis=0))
    kept: Points = outline[(apart > NEAR).any(axis=1)]
    return kept if len(kept) else outline[:1]


def _corners(ring: Points) -> tuple[Points, bool]:
    """The points that lie on no straight side, and whether the first point is one of them."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    off_chord = np.abs(cross(ring - before, after - ring))
    is_corner = off_chord > FLAT * np.ptp(ring, axis=0).max() * np.hypot(*(after - before).T)
    return _without_repeats(ring[is_corner]), bool(is_corner[0])


def _sides(corners: Points) -> Lines:
    return corners[:2], corners[:1:-1]


def _paired(ring: Points) -> Lines | None:
    """By the second rule; None if it does not fit."""
    half, odd = divmod(len(ring), 2)
    if odd or half < 3:
        return None
    top, bottom = ring[:half], ring[: half - 1 : -1]
    return _fitting(top, bottom) if _area(ring) >= 0 else _left_to_right(top, bottom)


def _left_to_right(one: Points, other: Points) -> Lines | None:
    """The two sides of a line in either order, both from the same end."""
    if one[0, 0] + other[0, 0] > one[-1, 0] + other[-1, 0]:
        one, other = one[::-1], other[::-1]
    return _fitting(one, other) or _fitting(other, one)


def _fitting(top: Points, bottom: Points) -> Lines | None:
    """None if these are no pairs by the second rule."""
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


def _between_ends(ring: Points) -> Lines | None:
    """By the third rule: pairs of evenly spaced points of a contour; None if it has no two ends."""
    closed = np.concatenate([ring, ring[:1]])
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])

    def at(places: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
        """Points of the contour, x + iy; places: shares of its length."""
        return np.asarray(np.interp(places % 1 * lengths[-1], lengths, closed[:, 0] + 1j * closed[:, 1]))

    along, grid = np.linspace(0, 1, PAIRS), np.linspace(-1, 1, PLACES)
    # An end, the share of the length up to the other end, and the share from the middle of an end to its corner.
    # The inner side of an arc is shorter than the outer one, but not below 0.3 of the length.
    end, side, half = 0.5, 0.5, 0.0
    for reach in np.array([0.5, 0.2]) / [[1], [4], [16]]:
        starts, sides = end + reach[0] * grid[:, None, None], side + reach[1] * grid[:, None]
        one = at(starts + half + (sides - 2 * half) * along)  # (PLACES, PLACES, PAIRS)
        other = at(starts - half - (1 - sides - 2 * half) * along)
        apart = np.abs(one - other)
        best = np.unravel_index(apart.sum(axis=2).argmin(), apart.shape[:2])
        end, side, half = starts[best[0], 0, 0], sides[best[1], 0], np.median(apart[best]) / 2 / lengths[-1]
    return _left_to_right(*(np.stack([line[best].real, line[best].imag], axis=1) for line in (one, other)))


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
