"""A crop of any size -> windows of the model's size -> one output picture.

native:     the crop is brought to the model's height and cut along its length into overlapping windows; their
            answers are blended into one strip, which is brought to twice the crop's own width and height.
telescope:  the reference behaviour, for parity with published models: stretched to the model's input, answered
            in the model's output size.

What native does with shapes that are no line of small text:
  shorter than one window   stretched to it, as the network has seen short words in training
  a little longer           squeezed into it
  upright and narrow        (higher than the model can answer, but not wider) turned onto its side and back
  higher than that          more rows than the network can answer: enlarged without it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb, crops_to_lr, resize, sr_to_crops

Geometry = Literal["native", "telescope"]
Chw = npt.NDArray[np.float32]
SQUEEZE = 1 / 8  # a line so little longer than one window is squeezed into it: half the work
SMALL_WINDOWS = 4  # split and blended in a fraction of a millisecond
OVERLAP = 1 / 4  # of a window's width: a letter and a half, so that none is only seen cut through


@dataclass(frozen=True)
class Layout:
    """How one crop becomes windows; follows from its size alone, so room for them can be kept before decoding.

    starts: first LR column of every window; empty when the crop is higher than the network can answer.
    length: LR columns of the whole strip.
    output: height and width of the answer.
    """

    starts: tuple[int, ...]
    length: int
    output: tuple[int, int]
    turned: bool = False

    @property
    def is_small(self) -> bool:
        """Few pixels may be many windows: blending those of a strip 4 px high takes 15 ms."""
        return len(self.starts) <= SMALL_WINDOWS


def plan(height: int, width: int, *, geometry: Geometry, spec: PixelSpec) -> Layout:
    """The layout of a crop of `height` x `width` pixels, both positive."""
    assert height > 0
    assert width > 0
    if geometry == "telescope":
        return Layout((0,), spec.width, (spec.scale * spec.height, spec.scale * spec.width))
    output = (spec.scale * height, spec.scale * width)
    highest = spec.scale * spec.height
    turned = height > highest >= width
    if turned:
        height, width = width, height
    if height > highest:
        return Layout((), 0, output)
    length = max(spec.width, round(width * spec.height / height))
    if length <= spec.width * (1 + SQUEEZE):
        length = spec.width
    return Layout(_starts(length, spec.width), length, output, turned)


def _starts(length: int, window: int) -> tuple[int, ...]:
    """Windows spread evenly from the first column to the last, neighbours sharing at least OVERLAP."""
    if length == window:
        return (0,)
    overlap = int(window * OVERLAP)
    count = ceil((length - overlap) / (window - overlap))
    return tuple(round(start) for start in np.linspace(0, length - window, count))


def split(rgb: Rgb, layout: Layout, spec: PixelSpec) -> Nchw:
    """uint8 (H, W, 3) -> LR windows float32 (n, 3, h, w), n = len(layout.starts)."""
    if not layout.starts:
        return crops_to_lr([], spec)
    upright = np.rot90(rgb) if layout.turned else rgb
    strip = resize(np.ascontiguousarray(upright), height=spec.height, width=layout.length)
    return crops_to_lr([strip[:, start : start + spec.width] for start in layout.starts], spec)


def merge(sr_windows: Sequence[Chw], layout: Layout, spec: PixelSpec) -> Rgb:
    """SR windows, each float32 (3, scale * h, scale * w) -> the output picture, uint8 (*layout.output, 3)."""
    strip = sr_windows[0] if len(sr_windows) == 1 else _blended(sr_windows, layout, spec)
    (rgb,) = sr_to_crops(strip[None], spec)
    height, width = layout.output
    if layout.turned:
        return np.ascontiguousarray(np.rot90(resize(rgb, height=width, width=height), -1))
    return np.ascontiguousarray(resize(rgb, height=height, width=width))


def _blended(sr_windows: Sequence[Chw], layout: Layout, spec: PixelSpec) -> Chw:
    """(3, scale * h, scale * layout.length)"""
    width = spec.scale * spec.width
    # Towards its ends a window knows less of what lies beyond, so its neighbour's word counts more there.
    ramp = np.minimum(np.arange(width), np.arange(width)[::-1]) + 1
    weight = np.minimum(ramp, int(width * OVERLAP)).astype(np.float32)
    strip = np.zeros((3, spec.scale * spec.height, spec.scale * layout.length), np.float32)
    total = np.zeros(spec.scale * layout.length, np.float32)
    for start, window in zip(layout.starts, sr_windows, strict=True):
        columns = slice(spec.scale * start, spec.scale * start + width)
        strip[:, :, columns] += window * weight
        total[columns] += weight
    strip /= total
    return strip


def enlarge(rgb: Rgb, layout: Layout) -> Rgb:
    """The same size without the network: bicubic. What that costs recognisers: `python -m bench ocr`."""
    height, width = layout.output
    return resize(rgb, height=height, width=width)
