"""Rendered pages with known text, and the matching of detected boxes to their lines."""

import cv2
import numpy as np
import pytest

from training.data.fonts import BUNDLED, find_fonts
from training.pages.errors import distance, errors, matches
from training.pages.kinds import KINDS
from training.pages.make import make_pages
from training.pages.sheet import Line, Part, Quad, Sheet, Style, warped
from training.pages.texts import SCRIPTS, read_texts


def box(left: float, top: float, right: float, bottom: float) -> Quad:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


LINES = [Line("Rye bread 1.29", box(10, 10, 300, 20)), Line("TOTAL 12.40", box(10, 40, 300, 50))]


def test_a_page_is_the_same_whenever_its_seed_and_fonts_are() -> None:
    first, second = (list(make_pages(find_fonts(), seed=3, kinds=("notice",), limit=1)) for _ in "ab")
    assert [page.rgb.tobytes() for page in first] == [page.rgb.tobytes() for page in second]
    assert [line.text for line in first[0].lines] == [line.text for line in second[0].lines]
    other = next(make_pages(find_fonts(), seed=4, kinds=("notice",), scripts=("latin",)))
    assert other.rgb.tobytes() != first[0].rgb.tobytes()
    assert first[0].fonts


def test_the_true_lines_of_a_skewed_scan_hold_all_of_its_ink() -> None:
    page = next(make_pages(find_fonts(), seed=3, kinds=("scan",), scripts=("latin",)))
    ink = page.rgb.mean(axis=2) < 90
    lines = np.zeros(ink.shape, np.uint8)
    for line in page.lines:
        own = cv2.fillConvexPoly(np.zeros(ink.shape, np.uint8), np.rint(line.quad).astype(np.int32), 1)
        assert ink[own > 0].mean() > 0.03
        lines |= own
    assert ink.sum() > 1000
    assert not ink[cv2.dilate(lines, np.ones((5, 5), np.uint8)) == 0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_lines_that_lie_on_the_page_and_do_not_meet(kind: str) -> None:
    page = next(make_pages((BUNDLED,), seed=1, kinds=(kind,), scripts=("latin",)))
    height, width = page.rgb.shape[:2]
    for line in page.lines:
        assert line.text.strip()
        assert line.quad.min() >= 0
        assert (line.quad.max(axis=0) <= (width, height)).all()
    assert matches(page.lines, [line.quad for line in page.lines]) == list(range(len(page.lines)))


def test_a_row_is_one_line_and_moves_with_the_sheet() -> None:
    sheet = Sheet((200, 60), ground=(255, 255, 255), zoom=2)
    sheet.row([Part("Milk", 20), Part("1.29", 180, "r")], 20, Style(BUNDLED, 12, (0, 0, 0)))
    under = np.zeros((160, 460, 3), np.uint8)
    shift = np.array([[1, 0, 30], [0, 1, 10], [0, 0, 1.0]])
    (line,) = warped(sheet.rgb, [Line("Milk 1.29", 2 * sheet.lines[0].quad)], shift, under)[1]
    assert sheet.lines[0].text == "Milk 1.29"
    assert 20 <= sheet.lines[0].quad[0, 0] < 22
    assert 178 < sheet.lines[0].quad[2, 0] <= 180
    np.testing.assert_allclose(line.quad, 2 * sheet.lines[0].quad + (30, 10))


def test_the_boxes_of_one_line_are_joined_from_left_to_right() -> None:
    boxes = [box(240, 4, 306, 26), box(4, 4, 120, 26), box(4, 34, 306, 56)]
    found = matches(LINES, boxes)
    assert found == [0, 0, 1]
    assert errors(LINES, found, boxes, ["1.29", "Rye bread", "TOTAL12.40"]).total == 0


def test_missed_lines_and_text_beside_the_lines_cost_all_of_their_characters() -> None:
    boxes = [box(4, 4, 306, 26), box(400, 100, 460, 120)]
    found = matches(LINES, boxes)
    assert found == [0, None]
    counted = errors(LINES, found, boxes, ["Rve bread 1.29", "a b c"])
    assert (list(counted.lines), counted.beside, counted.total) == ([1, 10], 3, 14)


def test_white_space_and_full_width_forms_do_not_count_but_case_does() -> None:
    assert distance("每天，７点 出发", "每天,7点出发") == 0
    assert distance("Total", "total") == 1
    assert distance("abc", "") == 3


def test_every_script_has_texts_of_every_use() -> None:
    assert set(read_texts()) == set(SCRIPTS)
    for own in read_texts().values():
        assert len(own.labels) >= 18  # a bar, a column of twelve and a heading
        assert len(own.total) == 5
        assert len(own.columns) == 4
