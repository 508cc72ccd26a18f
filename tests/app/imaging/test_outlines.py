"""Outlines of text: direction of four corners, pairs of a curved line, ends of a contour, least rectangles."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import BadRegion
from app.imaging.outlines import Points, text_lines

QUAD = np.array([[20.0, 40.0], [140.0, 60.0], [136.0, 84.0], [16.0, 64.0]])


def bent(points: int, *, radius: float = 120, height: float = 30, degrees: float = 120) -> Points:
    """The outline of a line on an arc, its middle up, with so many points a side."""
    angles = np.deg2rad(np.linspace(-degrees / 2, degrees / 2, points))
    around = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    return np.concatenate([(radius + height / 2) * around, (radius - height / 2) * around[::-1]]) + 200


def corners(outline: Points) -> Points:
    top, bottom = text_lines(outline)
    return np.concatenate([top, bottom[::-1]])


def test_four_clockwise_corners_begin_at_the_texts_top_left() -> None:
    for turned in range(4):
        assert (corners(np.roll(QUAD, turned, axis=0)) == np.roll(QUAD, turned, axis=0)).all()


@pytest.mark.parametrize("first", range(4))
def test_counter_clockwise_corners_are_read_from_left_to_right(first: int) -> None:
    assert (corners(np.roll(QUAD[::-1], first, axis=0)) == QUAD).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=6), st.booleans())
@example([(0.0, 0), (0.9999999999999999, 2)], False)  # a hair's breadth beside a corner
@example([(0.0, 1), (1e-6, 2)], False)
def test_repeated_closing_and_collinear_points_change_nothing(
    added: list[tuple[float, int]], closed: bool
) -> None:
    ring = [(side + share, QUAD[side] + share * (QUAD[(side + 1) % 4] - QUAD[side])) for share, side in added]
    ring += [(float(side), corner) for side, corner in enumerate(QUAD)]
    points = [point for _, point in sorted(ring, key=lambda one: one[0])]
    assert corners(np.array(points + points[:1] * closed)) == pytest.approx(QUAD, abs=0.01)


@pytest.mark.parametrize("points", [3, 5, 7, 20])
def test_paired_points_are_a_top_line_and_a_bottom_line(points: int) -> None:
    outline = bent(points)
    repeated = np.insert(outline, 2, outline[2], axis=0)
    closed = np.concatenate([outline, outline[:1]])
    from_below_counter_clockwise = np.concatenate([outline[points:][::-1], outline[:points][::-1]])
    from_above_counter_clockwise = np.concatenate([outline[:points][::-1], outline[points:][::-1]])
    for one in (outline, repeated, closed, from_below_counter_clockwise, from_above_counter_clockwise):
        top, bottom = text_lines(one)
        assert (top == outline[:points]).all()
        assert (bottom == outline[points:][::-1]).all()


def test_text_upside_down_stays_so_in_paired_points() -> None:
    outline = 400 - bent(5)
    assert (text_lines(outline)[0] == outline[:5]).all()


def test_two_points_of_one_line_may_coincide() -> None:
    outline = bent(14)
    outline[3] = outline[2]
    assert (text_lines(outline)[0] == outline[:14]).all()


@pytest.mark.parametrize("start", [0, 5, 21])
@pytest.mark.parametrize("margin", [0, 6])
@pytest.mark.parametrize(("radius", "degrees"), [(120, 150), (80, 250), (300, 70), (60, 120)])
def test_a_contour_that_bends_is_a_line_between_its_two_ends(
    radius: float, degrees: float, margin: int, start: int
) -> None:
    true = bent(40, radius=radius, degrees=degrees) + 150
    mask = np.zeros((700, 700), np.uint8)
    cv2.fillPoly(mask, [np.rint(true).astype(np.int32)], 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    (contour,), _ = cv2.findContours(cv2.dilate(mask, disc), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    contour = cv2.approxPolyDP(contour, 0.002 * cv2.arcLength(contour, True), True).reshape(-1, 2)
    top, bottom = text_lines(np.roll(contour, start, axis=0).astype(float))
    for line, side in ((top, 1), (bottom, -1)):  # of 30 px, read from left to right
        distances = np.hypot(*(line - 350).T) - radius - side * (15 + margin)
        assert np.abs(distances[1:-1]).max() < 2
        assert np.abs(distances).max() < 6 + margin  # a round end is narrower
        angles = np.rad2deg(np.unwrap(np.arctan2(*(line - 350).T * [[1], [-1]])))
        assert angles[[0, -1]] == pytest.approx(np.array([-1, 1]) * degrees / 2, abs=9)


@pytest.mark.parametrize("start", [0, 3, 10, 17, 31])
@pytest.mark.parametrize("step", [1, -1])
def test_any_other_polygon_is_its_least_rectangle_from_left_to_right(start: int, step: int) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ellipse = np.stack([80 * np.cos(angles), 15 * np.sin(angles)], axis=1)
    tilt = np.asarray(cv2.getRotationMatrix2D((0, 0), -30, 1)[:, :2], np.float64)
    outline = np.roll(ellipse, start, axis=0)[::step] @ tilt.T + 100
    rectangle = np.array([[-80, -15], [80, -15], [80, 15], [-80, 15]]) @ tilt.T + 100
    assert corners(outline) == pytest.approx(rectangle, abs=1.5)


@pytest.mark.parametrize(
    "outline",
    [
        [[0, 0], [100, 0], [0, 20], [100, 20]],
        [[0, 0], [0, 0], [100, 20], [100, 0], [0, 20]],
        [[10, 20], [90, 60], [95, 40], [90, 20], [10, 60], [5, 40]],
    ],
)
def test_an_outline_that_crosses_itself_is_refused(outline: list[list[float]]) -> None:
    with pytest.raises(BadRegion, match="cross"):
        text_lines(np.array(outline, float))


def test_four_points_with_a_dent_and_a_triangle_are_their_least_rectangle() -> None:
    for outline in (
        [[0, 0], [90, 0], [30, 10], [0, 40]],
        [[0, 0], [90, 0], [0, 40]],
        [[0, 0], [90, 0], [90, 0], [0, 40]],
        [[10, 10], [0, 0], [90, 0], [0, 40], [0, 0]],
    ):
        top, bottom = text_lines(np.array(outline, float))
        sides = sorted([np.hypot(*(top[1] - top[0])), np.hypot(*(bottom[0] - top[0]))])
        assert np.prod(sides) == pytest.approx(90 * 40, rel=0.01)
