"""Pages that were read, in the forms of `text-telescope read`: text, JSON, hOCR, and PDF (`app/bulk/pdf.py`).

hOCR: HTML with the place of every line and word, as OCR programs exchange it (kba.github.io/hocr-spec/1.2).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from math import atan2, degrees
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unicodedata import east_asian_width

Point = tuple[float, float]
FormName = Literal["text", "json", "hocr", "pdf"]
ENDINGS: dict[FormName, tuple[str, ...]] = {  # of files; the first is that of the files written to a folder
    "text": (".txt",),
    "json": (".json", ".jsonl"),
    "hocr": (".hocr", ".html"),
    "pdf": (".pdf",),
}
HOCR_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>Read by Text Telescope</title>
  <meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
  <meta name="ocr-system" content="text-telescope"/>
  <meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word"/>
 </head>
 <body>
"""
HOCR_FOOT = " </body>\n</html>\n"
UPRIGHT_DEGREES = 45  # beyond it a line has an angle in hOCR, and no baseline


class Line(NamedTuple):
    """corners: clockwise from the text's top left, in pixels. confidence: from 0 to 1."""

    corners: list[Point]
    text: str
    confidence: float

    @property
    def angle(self) -> float:
        """In degrees, counter-clockwise; 0 for text that runs to the right."""
        (x0, y0), (x1, y1), *_ = self.corners
        return -degrees(atan2(y1 - y0, x1 - x0))

    def words(self) -> Iterator["Line"]:
        """Its words, each with the share of the line that its letters take; wide letters take two."""
        widths = [2 if east_asian_width(letter) in "WF" else 1 for letter in self.text]
        start, total = 0, sum(widths)
        for word in self.text.split():
            start = self.text.index(word, start)
            end = start + len(word)
            corners = self._part(sum(widths[:start]) / total, sum(widths[:end]) / total)
            yield Line(corners, word, self.confidence)
            start = end

    def _part(self, start: float, end: float) -> list[Point]:
        top_left, top_right, bottom_right, bottom_left = self.corners
        top, bottom = (top_left, top_right), (bottom_left, bottom_right)
        return [_between(*top, start), _between(*top, end), _between(*bottom, end), _between(*bottom, start)]


@dataclass(frozen=True)
class ReadPage:
    """data: the file of its picture. found: the JSON of POST /v1/super-resolve/page with read=true."""

    path: Path
    data: bytes
    found: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.found["input"]["width"], self.found["input"]["height"]

    def lines(self) -> Iterator[Line]:
        """The lines in which text was read."""
        for fields in self.found["lines"]:
            reading = fields.get("reading")
            if reading and reading["text"].strip():
                corners = [(x, y) for x, y in fields["box"]]
                yield Line(corners, reading["text"], reading["confidence"])


Form = Callable[[Iterator[ReadPage], bool], Iterator[bytes]]  # pages, several? -> the parts of a document


def text(pages: Iterator[ReadPage], several: bool) -> Iterator[bytes]:
    """A line of text for each line of a page; several pages have a heading each."""
    for page in pages:
        heading = f"==> {page.path} <==\n" if several else ""
        found = page.found["text"] or ""
        yield f"{heading}{found}{chr(10) * bool(found)}{chr(10) * several}".encode()


def json_lines(pages: Iterator[ReadPage], several: bool) -> Iterator[bytes]:
    """An object for each page, on a line of its own."""
    for page in pages:
        yield json.dumps({"file": str(page.path), **page.found}, ensure_ascii=False).encode() + b"\n"


def hocr(pages: Iterator[ReadPage], several: bool) -> Iterator[bytes]:
    for number, page in enumerate(pages):
        width, height = page.size
        name = str(page.path).replace('"', "'")
        title = escape(f'image "{name}"; bbox 0 0 {width} {height}; ppageno {number}')
        head = HOCR_HEAD if number == 0 else ""
        lines = "".join(
            _hocr_line(line, f"{number + 1}_{index}", page.size) for index, line in enumerate(page.lines(), 1)
        )
        place = f'  <div class="ocr_page" id="page_{number + 1}" title="{title}">\n{lines}  </div>\n'
        yield f"{head}{place}".encode()
    yield HOCR_FOOT.encode()


def _hocr_line(line: Line, name: str, size: tuple[int, int]) -> str:
    words = " ".join(
        f'<span class="ocrx_word" id="word_{name}_{index}" title="bbox {_bounds(word, size)}; '
        f'x_wconf {round(100 * word.confidence)}">{escape(word.text)}</span>'
        for index, word in enumerate(line.words(), 1)
    )
    bounds = _bounds(line, size)
    return f'   <span class="ocr_line" id="line_{name}" title="bbox {bounds}; {_direction(line)}">{words}</span>\n'


def _direction(line: Line) -> str:
    """Of a nearly level line its baseline: the slope, and the height above the bottom left of the bounds."""
    if abs(line.angle) > UPRIGHT_DEGREES:
        return f"textangle {line.angle % 360:.1f}"
    *_, (right, right_y), (left, left_y) = line.corners
    slope = (right_y - left_y) / (right - left)
    return f"baseline {slope:.3f} {round(left_y - max(y for _, y in line.corners))}"


def _bounds(line: Line, size: tuple[int, int]) -> str:
    """Left, top, right and bottom, within the page."""
    columns, rows = (
        [round(min(max(value, 0), limit)) for value in values]
        for values, limit in zip(zip(*line.corners, strict=True), size, strict=True)
    )
    return f"{min(columns)} {min(rows)} {max(columns)} {max(rows)}"


def _between(start: Point, end: Point, share: float) -> Point:
    (x0, y0), (x1, y1) = start, end
    return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
