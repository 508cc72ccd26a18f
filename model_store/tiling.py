"""A crop of any size -> tiles of the network's input sizes -> one output picture.

    native      resized once to its working scale -> tiles, overlapping in both directions -> network
                -> blended into one picture -> resized once to twice the crop's width and height
                -> mixed with the enlarged crop, if the rule's strength is below 1
    telescope   the reference behaviour, for parity with published models: stretched to the model's trained input,
                returned in the model's output size

The network takes the same time for every pixel, so the tiles have the input size with the fewest pixels in total.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.manifest import PixelSpec
from model_store.pixels import Chw as Chw
from model_store.pixels import Nchw, Rgb, crops_to_lr, resize, sr_to_crops
from model_store.pixels import Size as Size

Geometry = Literal["native", "telescope"]
OVERLAP_PX = 16  # of neighbouring tiles; a pixel depends on the 18 px around it, on the outer ones hardly
OVERLAP_SHARE = 1 / 4  # of a tile's side at most
SHRINKS = (1.0, 0.97, 0.94, 0.91, 0.88)  # of the working scale where that saves tiles; blur is known to a tenth
MIN_ROWS = 12  # of text, before SHRINKS, which may leave 11: with fewer, letters fall together
TURN_ROWS, TURN_ASPECT = 64, 1.5  # a crop this high, and this much higher than wide, is text on its side


@dataclass(frozen=True)
class Layout:
    """How one crop becomes tiles.

    size: of the crop at its working scale, upright. tile: one of the network's input sizes. tops, lefts: first
    pixel of each row and column of tiles. output: size of the resulting picture. turned: the crop lay on its side.
    """

    size: Size
    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    output: Size
    turned: bool = False

    @property
    def tiles(self) -> int:
        return len(self.tops) * len(self.lefts)

    @property
    def pixels(self) -> int:
        """Pixels that the network computes."""
        return self.tiles * prod(self.tile)


def stretched(spec: PixelSpec) -> Layout:
    """The reference behaviour, for a crop of any size."""
    size = (spec.height, spec.width)
    return Layout(size, size, (0,), (0,), (spec.scale * spec.height, spec.scale * spec.width))


@lru_cache(maxsize=1024)
def plan(height: int, width: int, *, scale: float, spec: PixelSpec, sizes: tuple[Size, ...]) -> Layout:
    """The layout of a crop of `height` x `width` pixels at a working scale in (0, 1].

    sizes: the network's input sizes. A smaller scale never takes more pixels.
    """
    assert height > 0
    assert width > 0
    assert 0 < scale <= 1
    output = (spec.scale * height, spec.scale * width)
    turned = height > TURN_ROWS and height >= TURN_ASPECT * width
    if turned:
        height, width = width, height
    scale = max(scale, min(1.0, MIN_ROWS / height))
    scaled = [(max(1, round(f * scale * height)), max(1, round(f * scale * width))) for f in SHRINKS]
    # among equal costs the first, which is the largest
    size, tile = min(product(scaled, sizes), key=lambda pair: _count(*pair) * prod(pair[1]))
    tops, lefts = (_starts(length, side) for length, side in zip(size, tile, strict=True))
    return Layout(size, tile, tops, lefts, output, turned)


def _count(size: Size, tile: Size) -> int:
    """Tiles that a crop of this size takes."""
    return _along(size[0], tile[0]) * _along(size[1], tile[1])


def _along(length: int, side: int) -> int:
    """Tiles along one side, neighbours sharing at least the overlap."""
    overlap = _overlap(side)
    return 1 if length <= side else ceil((length - overlap) / (side - overlap))


def _starts(length: int, side: int) -> tuple[int, ...]:
    """Tiles spread evenly from the first pixel to the last."""
    count = _along(length, side)
    return (0,) if count == 1 else tuple(round(i * (length - side) / (count - 1)) for i in range(count))


def _overlap(side: int) -> int:
    return min(OVERLAP_PX, int(side * OVERLAP_SHARE))


def split(rgb: Rgb, layout: Layout, spec: PixelSpec) -> Nchw:
    """uint8 (H, W, 3) -> tiles float32 (layout.tiles, 3, *layout.tile), row by row.

    Where a tile reaches beyond the crop, it repeats the crop's edge.
    """
    upright = np.ascontiguousarray(np.rot90(rgb)) if layout.turned else rgb
    height, width = layout.size
    resized = resize(upright, height=height, width=width)
    missing = [max(0, side - length) for side, length in zip(layout.tile, layout.size, strict=True)]
    if any(missing):
        resized = np.pad(resized, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    rows, columns = layout.tile
    tiles = [resized[top : top + rows, left : left + columns] for top in layout.tops for left in layout.lefts]
    return crops_to_lr(tiles, replace(spec, height=rows, width=columns))


def merge(sr_tiles: Sequence[Chw], layout: Layout, spec: PixelSpec) -> Rgb:
    """SR tiles, each float32 (3, scale * h, scale * w) -> the output picture, uint8 (*layout.output, 3)."""
    whole = sr_tiles[0] if len(sr_tiles) == 1 else _blended(sr_tiles, layout, spec.scale)
    rows, columns = (spec.scale * length for length in layout.size)
    (rgb,) = sr_to_crops(whole[None, :, :rows, :columns], spec)
    height, width = layout.output
    if layout.turned:
        return np.ascontiguousarray(np.rot90(resize(rgb, height=width, width=height), -1))
    return np.ascontiguousarray(resize(rgb, height=height, width=width))


def _blended(sr_tiles: Sequence[Chw], layout: Layout, scale: int) -> Chw:
    """(3, scale * h, scale * w): the area of all tiles, which may reach beyond the crop."""
    down, across = (_weights(side, scale) for side in layout.tile)
    weight = down[:, None] * across
    sides = [
        scale * (starts[-1] + side) for starts, side in zip((layout.tops, layout.lefts), layout.tile, strict=True)
    ]
    whole, total = np.zeros((3, *sides), np.float32), np.zeros(sides, np.float32)
    places = [(scale * top, scale * left) for top in layout.tops for left in layout.lefts]
    for (top, left), tile in zip(places, sr_tiles, strict=True):
        rows, columns = slice(top, top + len(down)), slice(left, left + len(across))
        whole[:, rows, columns] += tile * weight
        total[rows, columns] += weight
    whole /= total
    return whole


def _weights(side: int, scale: int) -> npt.NDArray[np.float32]:
    """(scale * side,): near its ends a tile lacks the pixels around, so its weight falls there."""
    nearest = np.minimum(np.arange(scale * side), np.arange(scale * side)[::-1]) + 1
    weights: npt.NDArray[np.float32] = np.minimum(nearest, scale * _overlap(side)).astype(np.float32)
    return weights


def enlarge(rgb: Rgb, output: Size) -> Rgb:
    """Bicubic enlargement, without the network. `python -m bench ocr` measures its effect on recognisers."""
    height, width = output
    return resize(rgb, height=height, width=width)


def mixed(sr: Rgb, enlarged: Rgb, strength: float) -> Rgb:
    """`strength` of the super-resolved picture and the rest of the enlarged crop, which has the same size."""
    share = np.float32(strength)
    picture: Rgb = np.rint(share * sr + (1 - share) * enlarged).astype(np.uint8)
    return picture
