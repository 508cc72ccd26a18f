"""Glyph masks: a word drawn letter by letter with FreeType, then laid into its crop by one warp.

draw_word -> Lettering (masks at a fixed em, the word's ink box) -> lay_out (crop's size, perspective)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.fonts import Font
from training.errors import DataError

EM_PX = 48  # capitals are then 35 px high: an HR crop is 32 high, and drawing glyphs is the slowest step
_CROP_PX = 64  # highest crop for this em; enlarged further, a word would be a soft target


@dataclass(frozen=True)
class GlyphStyle:
    """How letters are drawn; lengths in pixels at EM_PX."""

    bold_px: int = 0  # added to both sides of every stroke
    outline_px: int = 0  # width of the rim around the bold stroke
    spacing_px: float = 0.0  # extra advance after each letter
    rise: float = 0.0  # of a bent baseline's middle over its ends, as a fraction of the width
    neighbour: Literal["above", "below", "right"] | None = None  # side where part of another word shows
    neighbour_text: str = ""


@dataclass(frozen=True)
class Lettering:
    """masks: uint8 (h, w, 2), fill and rim; box: ink of the word itself, (left, top, right, bottom)."""

    masks: np.ndarray
    box: tuple[int, int, int, int]

    @property
    def aspect(self) -> float:
        left, top, right, bottom = self.box
        return (right - left) / (bottom - top)


def draw_word(text: str, font: Font, style: GlyphStyle, *, height_px: int = _CROP_PX) -> Lettering:
    """Masks of a word for a crop of a height; DataError when the font draws nothing for it."""
    enlarged = -(-height_px // _CROP_PX)
    em, style = enlarged * EM_PX, _enlarged(style, enlarged)
    face = font.at(em)
    pieces = _pieces(text, face, style)
    bend = style.rise * pieces[-1].end
    pad, line = em, round(1.2 * em)
    size = (int(pieces[-1].end) + 3 * pad, int(3.4 * em + abs(bend)))
    # One layer if there is no rim, to save time.
    layers = [Image.new("L", size) for _ in range(2 if style.outline_px else 1)]
    pens = [ImageDraw.Draw(layer) for layer in layers]
    top = line + max(0.0, bend)

    def put(letters: str, x: float, y: float) -> None:
        for pen, stroke in zip(pens, (style.bold_px, style.bold_px + style.outline_px), strict=False):
            pen.text((x, y), letters, font=face, fill=255, stroke_width=stroke)

    for piece in pieces:
        t = (piece.start + piece.end) / pieces[-1].end - 1.0  # from -1 at the first letter to 1 at the last
        put(piece.text, pad + piece.start, top - bend * (1.0 - t * t))
    box = layers[-1].getbbox()
    if box is None:
        raise DataError(f"{font.name} draws nothing for {text!r}")
    places = {"above": (pad, top - line), "below": (pad, top + line), "right": (box[2] + 0.3 * em, top)}
    if style.neighbour:
        put(style.neighbour_text, *places[style.neighbour])
    reach = em // 2  # the widest margin
    frame = (max(0, box[0] - reach), max(0, box[1] - reach), box[2] + reach, box[3] + reach)
    cut = [np.asarray(layer.crop(frame)) for layer in layers]
    inner = (box[0] - frame[0], box[1] - frame[1], box[2] - frame[0], box[3] - frame[1])
    return Lettering(cv2.merge([cut[0], cut[-1]]), _at_least_tall(inner, em))


def _enlarged(style: GlyphStyle, times: int) -> GlyphStyle:
    return replace(
        style,
        bold_px=style.bold_px * times,
        outline_px=style.outline_px * times,
        spacing_px=style.spacing_px * times,
    )


class _Piece(NamedTuple):
    text: str
    start: float
    end: float


def _pieces(text: str, face: ImageFont.FreeTypeFont, style: GlyphStyle) -> list[_Piece]:
    """The whole word at once where FreeType can set it, else its letters with their places."""
    if not style.spacing_px and not style.rise:
        return [_Piece(text, 0.0, face.getlength(text))]
    widths = [face.getlength(char) for char in text]
    # Ends of prefixes carry the kerning that single letters lack.
    ends = [face.getlength(text[: i + 1]) + style.spacing_px * i for i in range(len(text))]
    return [_Piece(char, end - width, end) for char, width, end in zip(text, widths, ends, strict=True)]


def _at_least_tall(box: tuple[int, int, int, int], em: int) -> tuple[int, int, int, int]:
    # A lone dash or dot is not enlarged to the crop's height: it keeps its size within a line.
    left, top, right, bottom = box
    lack = max(0, round(0.45 * em) - (bottom - top))
    return left, top - lack // 2, right, bottom + lack - lack // 2


def lay_out(lettering: Lettering, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 (2, H, W) in [0, 1]: fill and rim with the word's ink box warped onto four corners.

    corners: float (4, 2), x and y of top left, top right, bottom right, bottom left; size: (H, W).
    """
    left, top, right, bottom = lettering.box
    source = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    masks, shrink = lettering.masks, np.linalg.norm(corners[3] - corners[0]) / (bottom - top)
    if shrink < 0.6:  # linear sampling skips pixels below one half, which frays thin strokes
        masks = cv2.GaussianBlur(masks, (0, 0), 0.35 / float(shrink))
    warped = cv2.warpPerspective(masks, matrix, size[::-1], flags=cv2.INTER_LINEAR)
    return np.multiply(warped.transpose(2, 0, 1), np.float32(1 / 255), order="C")
