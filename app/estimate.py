"""How blurred, noisy and contrasty a crop of text is, in a fraction of a millisecond.

    estimate(rgb) -> Estimate(blur, noise, contrast)

Everything is relative to the crop's own contrast, so that a dim crop counts as no more blurred than a bright one.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model_store.pixels import Rgb

MAX_COLUMNS = 512  # of a long line its middle is enough; a whole one would cost milliseconds

# Immerkaer, Fast Noise Variance Estimation (1996): blind to slopes and straight edges; white noise of
# deviation s gives it a deviation of 6 s.
_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_QUARTILE = 0.31864  # of a normal distribution's absolute values; the median already holds letters


@dataclass(frozen=True)
class Estimate:
    """blur: standard deviation of the sharpest edges' Gaussian, in pixels of the crop; inf on a plain ground.

    noise: standard deviation over contrast; inf on a plain ground. contrast: from the darkest fiftieth to the
    brightest, of 255.
    """

    blur: float
    noise: float
    contrast: float


def estimate(rgb: Rgb) -> Estimate:
    """uint8 (H, W, 3), dark text on light ground or the other way round."""
    start = max(0, rgb.shape[1] - MAX_COLUMNS) // 2
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[:, start : start + MAX_COLUMNS]), cv2.COLOR_RGB2GRAY)
    levels = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    contrast = float(np.searchsorted(levels, 0.98) - np.searchsorted(levels, 0.02))
    if not contrast:
        return Estimate(math.inf, math.inf, 0.0)
    pixels = grey.astype(np.float32)
    curvature = np.asarray(cv2.filter2D(pixels, -1, _LAPLACIANS, borderType=cv2.BORDER_REPLICATE), np.float32)
    noise = _share(np.abs(curvature), 0.25) / (6 * _QUARTILE)
    across = cv2.Scharr(pixels, -1, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(pixels, -1, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    steepest = _share(np.hypot(across, down), 0.98)  # a step's slope is contrast / (sqrt(2 pi) blur)
    return Estimate(contrast / (math.sqrt(2 * math.pi) * max(steepest, 1e-6)), noise / contrast, contrast)


def _share(values: npt.NDArray[np.float32], share: float) -> float:
    """The value below which that share of them lies."""
    place = int(share * (values.size - 1))
    return float(np.partition(values.ravel(), place)[place])
