"""The network's views of one crop, whose pictures are averaged: at several scales, as it is and inverted.

    crop -> each view: tiles -> network -> picture
         -> the mean of the pictures

Where the network makes a stroke up, it makes up another one at another scale, or with dark and light exchanged.
The strokes of the crop stay the same. So the mean keeps them, and fades the others. Each view takes the network's
time for its pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import NamedTuple

import numpy as np

from model_store import tiling
from model_store.manifest import PixelSpec
from model_store.pixels import Chw, Nchw, Rgb, Size
from model_store.tiling import Layout

SMALL_PIXELS = 4096  # of tiles: cut and blended in a fraction of a millisecond
# Number of views -> of each, the share of the working scale, and whether the crop is inverted.
SETS = {
    1: ((1.0, False),),
    6: tuple(product((0.75, 1.0, 1.25), (False, True))),
}


class Look(NamedTuple):
    """scale: in (0, 1]. inverted: the network sees 255 minus each pixel, and its picture is inverted back."""

    scale: float = 1.0
    inverted: bool = False


def looks(views: int, scale: float) -> tuple[Look, ...]:
    """So many looks, one of SETS, of which some may be equal: none is larger than the crop. scale: positive."""
    return tuple(Look(min(1.0, share * scale), inverted) for share, inverted in SETS[views])


@dataclass(frozen=True)
class View:
    """One look with its tiles."""

    layout: Layout
    inverted: bool = False

    def split(self, rgb: Rgb, spec: PixelSpec) -> Nchw:
        """A crop, uint8 (H, W, 3) -> its LR tiles, as `tiling.split`."""
        return tiling.split(255 - rgb if self.inverted else rgb, self.layout, spec)

    def merge(self, sr_tiles: Sequence[Chw], spec: PixelSpec) -> Rgb:
        """The picture, as `tiling.merge`."""
        picture = tiling.merge(sr_tiles, self.layout, spec)
        return 255 - picture if self.inverted else picture


@dataclass(frozen=True)
class Views:
    """All views of one crop, one at least."""

    each: tuple[View, ...]

    @property
    def output(self) -> Size:
        """Height and width of the picture."""
        return self.each[0].layout.output

    @property
    def layouts(self) -> list[Layout]:
        return [view.layout for view in self.each]

    @property
    def tiles(self) -> int:
        return sum(layout.tiles for layout in self.layouts)

    @property
    def pixels(self) -> int:
        """Pixels that the network computes."""
        return sum(layout.pixels for layout in self.layouts)

    @property
    def is_small(self) -> bool:
        """True if cutting and blending take a fraction of a millisecond."""
        return self.pixels <= SMALL_PIXELS

    def distinct(self) -> "Views":
        """Without views that are equal to others: the network computes each once."""
        return Views(tuple(dict.fromkeys(self.each)))

    def split(self, rgb: Rgb, spec: PixelSpec) -> list[Chw]:
        """A crop, uint8 (H, W, 3) -> the LR tiles of every view, each float32 (3, h, w)."""
        return [tile for view in self.each for tile in view.split(rgb, spec)]

    def merge(self, sr_tiles: Sequence[Chw], spec: PixelSpec) -> Rgb:
        """The network's outputs for the tiles of `split` -> the mean picture, uint8 (*output, 3)."""
        left = iter(sr_tiles)
        pictures = [view.merge(list(islice(left, view.layout.tiles)), spec) for view in self.each]
        if len(pictures) == 1:
            return pictures[0]
        mean: Rgb = np.rint(np.sum(pictures, axis=0, dtype=np.float32) / len(pictures)).astype(np.uint8)
        return mean


def stretched(spec: PixelSpec) -> Views:
    """The reference behaviour, for a crop of any size: one view."""
    return Views((View(tiling.stretched(spec)),))


def plan(height: int, width: int, each: Sequence[Look], *, spec: PixelSpec, sizes: tuple[Size, ...]) -> Views:
    """The views of a crop of `height` x `width` pixels. sizes: the network's input sizes.

    Looks at smaller scales never take more pixels, view by view. Views may be equal.
    """
    layouts = (tiling.plan(height, width, scale=look.scale, spec=spec, sizes=sizes) for look in each)
    views = (View(layout, look.inverted) for layout, look in zip(layouts, each, strict=True))
    return Views(tuple(views))
