"""Glyph masks: a word drawn letter by letter with FreeType, then laid into its crop by one warp.

    draw_word -> Lettering (masks at a fixed em, the word's ink box) -> lay_out (crop's size, perspective)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw

from training.data.fonts import Font
from training.errors import DataError

EM_PX = 64  # about twice what an HR crop needs, so that the warp only ever shrinks


@dataclass(frozen=True)
class GlyphStyle:
    """How letters are drawn; lengths in pixels at EM_PX."""

    bold_px: int = 0  # added to both sides of every stroke
    outline_px: int = 0  # width of the rim around the bold stroke
    spacing_px: float = 0.0  # extra advance after each letter
    rise: float = 0.0  # of a bent baseline's middle over its ends, as a fraction of the width
    neighbour: Literal["above", "below", "right"] | None = None  # where another word may peep in
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


def draw_word(text: str, font: Font, style: GlyphStyle) -> Lettering:
    """Masks of a word; DataError when the font draws nothing for it."""
    face = font.at(EM_PX)
    widths = [face.getlength(char) for char in text]
    # Ends of prefixes carry the kerning that single letters lack.
    starts = [face.getlength(text[: i + 1]) - widths[i] + style.spacing_px * i for i in range(len(text))]
    length = starts[-1] + widths[-1]
    bend = style.rise * length
    pad, line = EM_PX, round(1.2 * EM_PX)
    size = (int(length) + 3 * pad, int(3.4 * EM_PX + abs(bend)) + 2 * style.outline_px)
    layers = [Image.new("L", size) for _ in range(2)]
    strokes = (style.bold_px, style.bold_px + style.outline_px)
    top = line + max(0.0, bend)

    def put(what: str, x: float, y: float) -> None:
        for layer, stroke in zip(layers, strokes, strict=True):
            ImageDraw.Draw(layer).text((x, y), what, font=face, fill=255, stroke_width=stroke)

    for char, start, width in zip(text, starts, widths, strict=True):
        t = 2.0 * (start + 0.5 * width) / length - 1.0  # -1 at the first letter, 1 at the last
        put(char, pad + start, top - bend * (1.0 - t * t))
    box = layers[1].getbbox()
    if box is None:
        raise DataError(f"{font.name} draws nothing for {text!r}")
    places = {"above": (pad, top - line), "below": (pad, top + line), "right": (box[2] + 0.3 * EM_PX, top)}
    if style.neighbour:
        put(style.neighbour_text, *places[style.neighbour])
    return Lettering(np.dstack([np.asarray(layer) for layer in layers]), _at_least_tall(box))


def _at_least_tall(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    # A lone dash or dot is not blown up to the crop's height: it keeps the size it has in a line.
    left, top, right, bottom = box
    lack = max(0, round(0.45 * EM_PX) - (bottom - top))
    return left, top - lack // 2, right, bottom + lack - lack // 2


def lay_out(lettering: Lettering, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 (H, W, 2) in [0, 1]: the masks with the word's ink box warped onto four corners.

    corners: float (4, 2), x and y of top left, top right, bottom right, bottom left; size: (H, W).
    """
    left, top, right, bottom = lettering.box
    source = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    masks, shrink = lettering.masks, np.linalg.norm(corners[3] - corners[0]) / (bottom - top)
    if shrink < 0.6:  # linear sampling skips pixels below one half, which frays thin strokes
        masks = cv2.GaussianBlur(masks, (0, 0), 0.35 / float(shrink))
    warped = cv2.warpPerspective(masks, matrix, size[::-1], flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32) / np.float32(255.0)
