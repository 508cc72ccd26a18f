"""How blurred, noisy and contrasty a crop of text is, in under a millisecond.

    estimate(rgb) -> Estimate: blur, contrast, noise

Everything is relative to the crop's own contrast, so that a dim crop counts as no more blurred than a bright one.

The blur is a regression on three quantities, each in pixels and relative to the contrast:

    edge      width of the steepest fiftieth of edges       too wide on thin strokes, too narrow under noise
    middle    width of the steepest tenth after 1 px more   blind to noise, but follows the amount of text
    spread    contrast that is left after 4 px more         tells thin strokes from wide ones

log blur = a quadratic of their logarithms, fitted to rendered text of known blur by `python -m training fit-blur`.
`python -m bench blur` reports the error by script, height, noise and compression.
"""

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from operator import mul

import cv2
import numpy as np
import numpy.typing as npt

from model_store.pixels import Rgb

MAX_COLUMNS = 512  # of a long line only the middle is measured; the whole line would cost milliseconds
MAX_ROWS = 64  # a higher crop is shrunk to it, the highest that the fit has seen
SHARP = 0.6  # pixels of blur that a sharp crop is measured to have, after shrinking too
MIN_CONTRAST = 4  # of 255; less is a plain ground, with or without noise

# Constant, edge, middle, spread, and their products in the order of `terms`. `python -m training fit-blur` prints
# them; with other fonts installed it finds other values.
COEFFICIENTS = (-0.49667596, 2.29453835, -0.60224261, -0.94794783, -0.04521744,
                -1.30070155, -0.55159344, 1.08260199, 0.87454574, -0.23417306)  # fmt: skip
RANGES = ((-0.3, 1.9), (0.3, 2.2), (-2.0, 0.0))  # of the logarithms, in which the fit holds

# Immerkaer, Fast Noise Variance Estimation (1996): blind to slopes and straight edges; white noise of
# deviation s gives it a deviation of 6 s.
_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_QUARTILE = 0.31864  # of a normal distribution's absolute values; the median already holds letters
Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Estimate:
    """blur: standard deviation of the Gaussian that blurred the text, in pixels of the crop; nan: plain.

    contrast: from the darkest fiftieth to the brightest, of 255. grey: the measured plane, float32 (h, w).
    """

    blur: float
    contrast: float
    grey: Plane

    @property
    def is_blank(self) -> bool:
        return math.isnan(self.blur)

    @property
    def noise(self) -> float:
        """Standard deviation over contrast; nan on a plain ground. Computed on access: few rules use it."""
        if self.is_blank:
            return math.nan
        curvature = cv2.filter2D(self.grey, -1, _LAPLACIANS, borderType=cv2.BORDER_REPLICATE)
        (quartile,) = _quantiles(np.abs(curvature), 0.25)
        return quartile / (6 * _QUARTILE * self.contrast)


def estimate(rgb: Rgb) -> Estimate:
    """uint8 (H, W, 3), dark text on light ground or the other way round."""
    grey, shrunk = measured_plane(rgb)
    low, high = _quantiles(grey, 0.02, 0.98)
    contrast = high - low
    if contrast < MIN_CONTRAST:
        return Estimate(math.nan, contrast, grey)
    log_blur = sum(map(mul, terms(*quantities(grey, contrast)), COEFFICIENTS))
    return Estimate(_before_shrinking(math.exp(log_blur), shrunk), contrast, grey)


def quantities(grey: Plane, contrast: float) -> list[float]:
    """The logarithms of edge, middle and spread, each within its range."""
    edge = contrast / _slope(grey, 0.98)
    middle = contrast / _slope(_blurred(grey, 1.0), 0.90)
    low, high = _quantiles(_blurred(grey, 4.0), 0.02, 0.98)
    spread = max(high - low, 1.0) / contrast
    found = map(math.log, (edge, middle, spread))
    return [min(max(value, least), most) for value, (least, most) in zip(found, RANGES, strict=True)]


def terms(edge: float, middle: float, spread: float) -> list[float]:
    """One, each, and each product of two."""
    each = (edge, middle, spread)
    return [1.0, *each, *(a * b for a, b in combinations_with_replacement(each, 2))]


def measured_plane(rgb: Rgb) -> tuple[Plane, float]:
    """float32 (h, w) of at most MAX_ROWS and MAX_COLUMNS, and how many times it was shrunk."""
    shrunk = max(1.0, len(rgb) / MAX_ROWS)
    columns = round(MAX_COLUMNS * shrunk)
    start = max(0, rgb.shape[1] - columns) // 2
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[:, start : start + columns]), cv2.COLOR_RGB2GRAY)
    if shrunk > 1:
        size = (max(1, round(grey.shape[1] / shrunk)), MAX_ROWS)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    return grey.astype(np.float32), shrunk


def _before_shrinking(blur: float, shrunk: float) -> float:
    """The blur before shrinking: variances add up, and shrinking does not reduce the variance SHARP ** 2."""
    return math.sqrt(shrunk**2 * (blur**2 - SHARP**2) + SHARP**2) if blur > SHARP else blur


def _slope(plane: Plane, share: float) -> float:
    """The quantile `share` of steepness, times sqrt(2 pi): contrast over it is the sigma of a blurred edge."""
    across = cv2.Scharr(plane, -1, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(plane, -1, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    (steep,) = _quantiles(cv2.magnitude(across, down), share)
    return math.sqrt(2 * math.pi) * max(steep, 1e-3)


def _blurred(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


def _quantiles(values: npt.ArrayLike, *shares: float) -> list[float]:
    """One for each share."""
    ordered = np.asarray(values, np.float32).flatten()
    places = [int(share * (ordered.size - 1)) for share in shares]
    ordered.partition(places)
    found: list[float] = ordered[places].tolist()
    return found
