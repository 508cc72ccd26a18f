"""Crops to tensors and back: the only pre- and post-processing there is.

    crops (uint8 RGB, any size) -> crops_to_lr -> float32 NCHW -> network -> sr_to_crops -> uint8 RGB

Training, evaluation and serving all use these functions, so they cannot disagree.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.manifest import PixelSpec

Rgb = npt.NDArray[np.uint8]  # (H, W, 3)
Chw = npt.NDArray[np.float32]  # (3, H, W)
Nchw = npt.NDArray[np.float32]  # (N, 3, H, W)
Size = tuple[int, int]  # height, width


def resize(rgb: Rgb, *, height: int, width: int) -> Rgb:
    """Bicubic with antialiasing, as Pillow does it; aspect is not kept.

    Pillow and not cv2: TextZoom, PaddleOCR and FudanOCR resize with Pillow's BICUBIC, whose kernel
    (a = -0.5, widened when shrinking) differs from cv2.INTER_CUBIC (a = -0.75, never widened).
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))


def crops_to_lr(crops: Sequence[Rgb], spec: PixelSpec) -> Nchw:
    """Crops of any size, each uint8 (H, W, 3) -> float32 (N, 3, spec.height, spec.width) in [low, high]."""
    lr = np.empty((len(crops), 3, spec.height, spec.width), np.float32)
    for row, crop in zip(lr, crops, strict=True):
        row[:] = resize(crop, height=spec.height, width=spec.width).transpose(2, 0, 1)
    lr *= np.float32((spec.high - spec.low) / 255)
    if spec.low:
        lr += np.float32(spec.low)
    return lr


def sr_to_crops(sr: Nchw, spec: PixelSpec) -> list[Rgb]:
    """float32 (N, 3, H, W) -> N crops uint8 (H, W, 3), clipped to the range and rounded.

    Clipped because the network ends in tanh: a slightly negative value cast straight to uint8 wraps
    round to 255, a white speck in a dark stroke.
    """
    levels = (sr - np.float32(spec.low)) if spec.low else sr
    levels = levels * np.float32(255 / (spec.high - spec.low))
    np.rint(levels, out=levels)
    np.maximum(levels, 0, out=levels)
    np.minimum(levels, 255, out=levels)
    planes = levels.astype(np.uint8)
    pixels = np.empty((len(sr), *sr.shape[2:], 3), np.uint8)
    for channel in range(3):  # twice as fast as a transposed copy
        pixels[..., channel] = planes[:, channel]
    return list(pixels)
