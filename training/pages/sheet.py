"""A page that is being drawn: its picture, and the text and place of each of its lines.

    sheet = Sheet((640, 480), ground=(255, 255, 255), zoom=2)
    bottom = sheet.row([Part("Milk", 20), Part("1.29", 300, "r")], y=40, style=Style(font, em=12, ink=(0, 0, 0)))
    rgb, lines = sheet.rgb, sheet.lines

Lengths are in pixels of the finished page. zoom: times as many pixels are drawn, to be shrunk by the degradation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model_store.pixels import Rgb
from training.data.fonts import Font

Colour = tuple[int, int, int]
RIM: Colour = (12, 12, 12)  # almost black
Quad = npt.NDArray[np.float64]  # (4, 2), clockwise from the text's top left, in pixels of the page


@dataclass(frozen=True, eq=False)
class Line:
    """One line of text on a page; a table's row is one line."""

    text: str
    quad: Quad


@dataclass(frozen=True)
class Style:
    """em: in pixels of the finished page. rim: width of a dark rim around the letters, as subtitles have."""

    font: Font
    em: float
    ink: Colour
    rim: float = 0.0


@dataclass(frozen=True)
class Part:
    """A piece of a row. x: of its left or right end, or its middle, by `anchor`."""

    text: str
    x: float
    anchor: Literal["l", "m", "r"] = "l"


class Sheet:
    def __init__(self, size: tuple[int, int], *, ground: Colour | Rgb, zoom: int) -> None:
        """size: width and height. ground: a colour, or a picture of zoom times the size."""
        self.zoom = zoom
        self.width, self.height = size
        whole = (self.width * zoom, self.height * zoom)
        self._image = Image.new("RGB", whole, ground) if isinstance(ground, tuple) else Image.fromarray(ground)
        self._pen = ImageDraw.Draw(self._image)
        self.lines: list[Line] = []
        self.fonts: set[str] = set()

    @property
    def rgb(self) -> Rgb:
        return np.asarray(self._image).copy()

    def row(self, parts: Sequence[Part], y: float, style: Style) -> float:
        """Write the parts as one line whose letters' tops are near y. Returns y below it, without spacing."""
        face = style.font.at(round(style.em * self.zoom))
        rim = round(style.rim * self.zoom)
        boxes = []
        for part in parts:
            at = (round(part.x * self.zoom), round(y * self.zoom))
            anchor = part.anchor + "a"
            self._pen.text(
                at, part.text, font=face, fill=style.ink, anchor=anchor, stroke_width=rim, stroke_fill=RIM
            )
            boxes.append(self._pen.textbbox(at, part.text, font=face, anchor=anchor, stroke_width=rim))
        left, top, right, bottom = (
            pick(side) for pick, side in zip((min, min, max, max), zip(*boxes, strict=True), strict=True)
        )
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64) / self.zoom
        self.lines.append(Line(" ".join(part.text for part in parts), quad))
        self.fonts.add(style.font.name)
        return y + style.em * 1.15

    def paragraph(
        self, words: Sequence[str], *, x: float, y: float, width: float, style: Style, joint: str, lead: float
    ) -> float:
        """Wrap the words into lines of at most this width. lead: from line to line, in ems. Returns y below."""
        face = style.font.at(round(style.em * self.zoom))
        line = ""
        for word in [*words, None]:
            longer = f"{line}{joint if line else ''}{word}"
            if word is not None and face.getlength(longer) <= width * self.zoom:
                line = longer
                continue
            if line and y + style.em * 1.3 < self.height:
                self.row([Part(line, x)], y, style)
                y += style.em * lead
            line = word or ""
        return y

    def length(self, text: str, style: Style) -> float:
        return style.font.at(round(style.em * self.zoom)).getlength(text) / self.zoom

    def rule(self, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
        ends = [round(value * self.zoom) for value in (*start, *end)]
        self._pen.line(ends, fill=colour, width=self.zoom)

    def block(self, corners: tuple[float, float, float, float], colour: Colour) -> None:
        """A filled box: left, top, right, bottom."""
        self._pen.rectangle([round(value * self.zoom) for value in corners], fill=colour)


def warped(rgb: Rgb, lines: Sequence[Line], matrix: npt.NDArray[np.float64], under: Rgb) -> tuple[Rgb, list[Line]]:
    """The picture and its lines moved by a homography onto another picture, whose size the result has."""
    height, width = under.shape[:2]
    moved = cv2.warpPerspective(rgb, matrix, (width, height), flags=cv2.INTER_CUBIC)
    shown = cv2.warpPerspective(np.full(rgb.shape[:2], 255, np.uint8), matrix, (width, height))
    alpha = shown[..., None].astype(np.float32) / 255
    picture = np.rint(alpha * moved + (1 - alpha) * under).astype(np.uint8)
    return picture, [Line(line.text, cv2.perspectiveTransform(line.quad[None], matrix)[0]) for line in lines]


def shrunk(lines: Sequence[Line], factor: float) -> list[Line]:
    return [Line(line.text, line.quad / factor) for line in lines]
