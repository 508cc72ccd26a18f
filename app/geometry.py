"""A crop of any size -> model tiles -> one output picture.

telescope: the reference behaviour, for parity with published models: stretched to the model's input,
           answered in the model's output size.
native:    the same tile, brought back to twice the crop's own width and height.
"""

from typing import Literal

import numpy as np

from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb, crops_to_lr, resize, sr_to_crops

Geometry = Literal["native", "telescope"]


def tile_count(height: int, width: int) -> int:
    """How many model inputs a crop of this size becomes."""
    assert height > 0
    assert width > 0
    return 1


def split(rgb: Rgb, spec: PixelSpec) -> Nchw:
    """uint8 (H, W, 3) -> LR tiles float32 (tiles, 3, h, w)."""
    return crops_to_lr([rgb], spec)


def merge(sr_tiles: Nchw, *, height: int, width: int, geometry: Geometry, spec: PixelSpec) -> Rgb:
    """SR tiles of a crop of `height` x `width` -> its output picture, uint8 RGB."""
    (tile,) = sr_to_crops(sr_tiles, spec)
    if geometry == "telescope":
        return tile
    return np.ascontiguousarray(resize(tile, height=spec.scale * height, width=spec.scale * width))
