"""How a word fills the network's input: stretched as in TextZoom, or placed at a scale of its own.

    lr, hr of any size -> stretch -> the whole word, resized to 16 x 64 without keeping its proportion
    a sharp crop       -> place   -> on a canvas such as 64 x 192 at any scale: a word with its edges continued,
                                     or a piece of a larger word

The service scales a crop by its blur and keeps its proportions, so letters differ in height and width. A network
trained on both framings serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_store.manifest import PixelSpec
from model_store.pixels import Rgb, resize

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def stretch(lr: Rgb, hr: Rgb, spec: PixelSpec) -> tuple[Rgb, Rgb]:
    """LR of the spec's height and width and HR of `scale` times that, proportion not kept."""
    height, width = spec.height, spec.width
    return resize(lr, height=height, width=width), resize(hr, height=height * spec.scale, width=width * spec.scale)


@dataclass(frozen=True, eq=False)
class Placed:
    """A canvas, uint8 (H, W, 3) RGB, and where the text lies on it.

    wide: the canvas shows the text's whole width. high: it shows the whole height.
    """

    canvas: Rgb
    box: Box
    wide: bool
    high: bool

    @property
    def whole(self) -> bool:
        return self.wide and self.high


def place(rgb: Rgb, *, height: int, canvas: tuple[int, int], rng: np.random.Generator) -> Placed:
    """Resize a crop to a height in pixels and put it anywhere on a canvas (height, width), edges continued.

    If it is larger than the canvas, put a random piece of it there.
    """
    width = max(4, round(rgb.shape[1] * height / rgb.shape[0]))
    rgb = resize(rgb, height=height, width=width)
    (top, above), (left, before) = (
        _fit(size, space, rng) for size, space in zip((height, width), canvas, strict=True)
    )
    piece = rgb[above : above + canvas[0], before : before + canvas[1]]
    high, wide = piece.shape[:2]
    below, beside = canvas[0] - top - high, canvas[1] - left - wide
    filled = np.pad(piece, ((top, below), (left, beside), (0, 0)), mode="edge")
    box = (float(left), float(top), float(left + wide), float(top + high))
    return Placed(filled, box, wide=wide == width, high=high == height)


def _fit(size: int, space: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start of the crop on one axis of the canvas, and the number of its first pixels that are cut off."""
    spare = space - size
    start = int(rng.integers(abs(spare), endpoint=True))
    return (start, 0) if spare >= 0 else (0, start)
