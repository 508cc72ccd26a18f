"""Regions cut out of a page and put back: tilted ones, over the page's edge, curved ones."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from app.errors import BadRegion
from app.imaging import regions, warp
from app.imaging.outlines import Points
from model_store.pixels import Rgb, resize

GROUND = (236, 230, 216)
HEIGHT, WIDTH = 32, 200
SIZE = (360, 400)  # of the page


def drawn(text: str = "Harbour Market 27") -> Rgb:
    """A straight line of text."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    ImageDraw.Draw(picture).text((8, 3), text, fill=(30, 30, 80), font=ImageFont.load_default(20))
    return np.asarray(picture)


def on_page(line: Rgb, quad: Points, size: tuple[int, int] = SIZE) -> Rgb:
    corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners - 0.5, (quad - 0.5).astype(np.float32))
    page = cv2.warpPerspective(line, matrix, size[::-1], flags=cv2.INTER_CUBIC, borderValue=GROUND)
    return np.asarray(page, np.uint8)


def on_arc(line: Rgb, radius: float, middle: tuple[float, float]) -> Rgb:
    """A page with the line on a circle around `middle`, its letters' feet towards it."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5 - np.array([middle[1], middle[0]])[:, None, None]
    u, v = WIDTH / 2 + radius * np.arctan2(x, -y), HEIGHT / 2 + radius - np.hypot(x, y)
    u_px, v_px = ((places - 0.5).astype(np.float32) for places in (u, v))
    return np.asarray(cv2.remap(line, u_px, v_px, cv2.INTER_CUBIC, borderValue=GROUND), np.uint8)


def arc(radius: float, middle: tuple[float, float], points: int) -> Points:
    angles = (np.linspace(0, WIDTH, points) - WIDTH / 2) / radius
    around = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    return np.concatenate([(radius + HEIGHT / 2) * around, (radius - HEIGHT / 2) * around[::-1]]) + middle


def tilted(degrees: float, centre: tuple[float, float]) -> Points:
    turn = cv2.getRotationMatrix2D((0, 0), -degrees, 1)[:, :2]
    half = np.array([[-WIDTH, -HEIGHT], [WIDTH, -HEIGHT], [WIDTH, HEIGHT], [-WIDTH, HEIGHT]]) / 2
    return np.asarray(half @ turn.T + centre)


def located(outline: Points, size: tuple[int, int] = SIZE) -> warp.Region:
    return regions.locate(outline, page=size, units="pixels", min_side_px=4)


def difference(crop: Rgb, line: Rgb) -> float:
    """Mean over the pixels that no edge touches."""
    return float(np.abs(crop.astype(float) - line)[2:-2, 2:-2].mean())


@given(st.floats(-180, 180))
def test_a_tilted_line_comes_back_as_it_was_drawn(degrees: float) -> None:
    line, quad = drawn(), tilted(degrees, (200, 180))
    crop = warp.rectify(on_page(line, quad), located(quad))
    assert crop.shape == line.shape
    assert difference(crop, line) < 6  # resampled twice; without any text the line would differ by 30


@pytest.mark.parametrize("degrees", [0.5, 20, 45, -45, 90, 200])
@pytest.mark.parametrize("centre", [(200, 5), (395, 180), (200, 355), (10, 10)])
def test_a_tilted_line_over_the_edge_keeps_its_shape(degrees: float, centre: tuple[float, float]) -> None:
    line, quad = drawn(), tilted(degrees, centre)
    crop = warp.rectify(on_page(line, quad), located(quad))
    assert crop.shape == line.shape
    there = warp.rectify(
        on_page(np.full_like(line, 255), quad), located(quad)
    )  # white where the page has the line
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    share = np.stack([x / WIDTH, y / HEIGHT], axis=2)
    places = quad[0] + share[..., :1] * (quad[1] - quad[0]) + share[..., 1:] * (quad[3] - quad[0])
    inside = ((places > 3) & (places < np.array(SIZE[::-1]) - 3)).all(axis=2) & (there == 255).all(axis=2)
    assert inside.sum() > 500
    assert np.abs(crop.astype(float) - line)[inside].mean() < 8
    outside = warp.rectify(np.full((*SIZE, 3), 77, np.uint8), located(quad))
    assert (outside == 77).all()  # the page's edge is repeated, and no frame is added


def test_a_narrow_diagonal_region_over_the_corner_is_cut_out() -> None:
    quad = np.array([[-5.0, -20.0], [100.0, 85.0], [85.0, 100.0], [-20.0, -5.0]])
    assert warp.rectify(np.zeros((*SIZE, 3), np.uint8), located(quad)).shape == (21, 148, 3)


@pytest.mark.parametrize(("points", "error"), [(4, 11), (5, 6), (8, 6), (20, 6)])
@pytest.mark.parametrize("radius", [90, 150])
def test_a_curved_line_comes_back_straight(points: int, error: float, radius: float) -> None:
    line, middle = drawn(), (200, 200)
    crop = warp.rectify(on_arc(line, radius, middle), located(arc(radius, middle, points)))
    assert crop.shape[0] == HEIGHT
    assert crop.shape[1] == pytest.approx(WIDTH, rel=0.03)
    assert difference(resize(crop, height=HEIGHT, width=WIDTH), line) < error


@pytest.mark.parametrize(
    "outline", [tilted(25, (200, 180)), tilted(60, (20, 180)), arc(110, (200, 200), 7), arc(110, (60, 200), 7)]
)
def test_a_result_goes_back_into_its_place(outline: Points) -> None:
    plain = np.full((2 * SIZE[0], 2 * SIZE[1], 3), 100, np.uint8)
    page, region = plain.copy(), located(outline)
    rows = np.linspace(150, 250, 2 * region.height).astype(np.uint8)
    result = np.repeat(np.repeat(rows[:, None], 2 * region.width, axis=1)[..., None], 3, axis=2)
    warp.paste(page, [(region, result)], scale=2)
    outer = np.concatenate([region.top, region.bottom[::-1]])
    mask = np.zeros(plain.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(2 * outer - 0.5).astype(np.int32)], 1)
    inside, near = cv2.erode(mask, np.ones((13, 13))) > 0, cv2.dilate(mask, np.ones((7, 7))) > 0
    assert inside.sum() > 1000
    assert (page[inside] >= 150).all()  # without a gap between strips
    assert (page[~near] == 100).all()
    straight = warp.rectify(page, warp.Region(2 * region.top, 2 * region.bottom, *result.shape[:2]))
    inside[[0, -1]] = inside[:, [0, -1]] = False  # the page's edge is repeated
    visible = warp.rectify(
        np.dstack([inside.astype(np.uint8) * 255] * 3),
        warp.Region(2 * region.top, 2 * region.bottom, *result.shape[:2]),
    )
    there = (visible == 255).all(axis=2)
    assert np.abs(straight.astype(float) - result)[there].max() < 6


def test_a_box_is_one_in_any_order_of_its_corners() -> None:
    page, box = (
        np.zeros((*SIZE, 3), np.uint8),
        np.array([[-20.0, 10.0], [80.0, 10.0], [80.0, 40.0], [-20.0, 40.0]]),
    )
    for corners in (box, box[::-1]):
        region = located(corners)
        assert region.is_box
        assert warp.rectify(page, region).shape == (30, 80, 3)


@given(st.lists(st.tuples(st.integers(-60, 260), st.integers(-60, 260)), min_size=3, max_size=8))
def test_a_result_touches_nothing_but_its_region(points: list[tuple[int, int]]) -> None:
    page = np.full((240, 400, 3), 100, np.uint8)
    try:
        region = located(np.array(points, float), (120, 200))
    except BadRegion:
        return
    assert warp.rectify(page[:120, :200], region).shape == (region.height, region.width, 3)
    warp.paste(page, [(region, np.full((2 * region.height, 2 * region.width, 3), 250, np.uint8))], scale=2)
    ring = np.rint(2 * np.concatenate([region.top, region.bottom[::-1]]) + 999.5).astype(np.int32)
    mask = cv2.fillPoly(np.zeros((2240, 2400), np.uint8), [ring], 1)  # the page lies amid a larger canvas
    covered = cv2.dilate(mask, np.ones((7, 7)))[1000:1240, 1000:1400]
    assert (page[covered == 0] == 100).all()


def test_a_box_between_pixels_goes_back_into_its_place() -> None:
    page = np.full((240, 400, 3), 100, np.uint8)
    region = located(np.array([[10.5, 10.5], [61.0, 10.5], [61.0, 30.5], [10.5, 30.5]]), (120, 200))
    warp.paste(page, [(region, np.full((2 * region.height, 2 * region.width, 3), 250, np.uint8))], scale=2)
    assert (page[26:56, 26:116] == 250).all()
