"""`python -m bench pages`: its pages, the matching of boxes to lines, and the command from pages to report."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from bench.__main__ import main
from bench.pages_maker import KINDS, make_pages
from bench.pages_match import distance, errors, matches
from bench.pages_sheet import Line, Part, Sheet, Style, warped
from tests.training.calibration.words import installed_reader
from training.data.fonts import BUNDLED, find_fonts


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
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


def test_the_command_reports_each_variant_of_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    command = ["pages", "--kinds", "subtitle", "--scripts", "latin", "--limit", "1", "--out", str(tmp_path)]
    command += ["--readers", installed_reader()]
    main(command)
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    found = report["figures"]["rapidocr-v6"]["subtitle"]["latin"]
    assert (found["pages"], found["lines"], found["missed"]) == (1, 4, 0)
    assert found["plain"]["cer"] < 20
    assert {"change", "low", "high", "sent", "kept"} <= found["second"].keys()
    assert report["fonts"]
    assert "| subtitle, latin | 4 |" in capsys.readouterr().out
    ElementTree.parse(tmp_path / "chart.svg")
    assert len(json.loads((tmp_path / "pages/subtitle-latin-0.json").read_text())) == 4


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="'letter' is unknown; choose among light screen"):
        main(["pages", "--kinds", "letter", "--out", str(tmp_path)])
