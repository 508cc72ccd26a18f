"""Metrics of super-resolved crops: PSNR and SSIM against HR, and reading accuracy against labels.

    metric = SRMetric()
    for sr, hr in batches:
        metric.update(sr, hr)
    print(metric.result())

PSNR and SSIM come in two kinds. The *batch* figure is PaddleOCR's and TextZoom's: PSNR of the joined batch,
averaged over batches, so it depends on the batch size. The *image* figure is the mean over pictures, and does not.

It needs numpy alone, no engine's framework.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

Nchw = npt.NDArray[np.float32]  # (N, 3, H, W) in [0, 1]
PerImage = npt.NDArray[np.float64]  # (N,)

PEAK = 255.0  # of 8-bit levels
# Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
SSIM_WINDOW = 11  # pixels
SSIM_SIGMA = 1.5  # pixels
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for a range of 1

READABLE = frozenset(string.digits + string.ascii_lowercase)  # the characters that TextZoom's accuracy compares


def psnr(sr: Nchw, hr: Nchw) -> float:
    """Peak signal-to-noise ratio in dB over RGB, one value for the whole batch.

    sr, hr: float (N, 3, H, W) in [0, 1]; equal shapes, else ValueError. Values outside the range are
    not clipped, as in PaddleOCR. Identical inputs give inf. 20 log10(255 / sqrt(mse)).
    """
    return float(_decibels(_squared_error(sr, hr).mean()))


def psnr_per_image(sr: Nchw, hr: Nchw) -> PerImage:
    """Peak signal-to-noise ratio in dB of each picture: float64 (N,). Arguments as `psnr`."""
    return _decibels(_squared_error(sr, hr).mean(axis=(1, 2, 3)))


def ssim(sr: Nchw, hr: Nchw) -> float:
    """Structural similarity in [-1, 1], the mean over every pixel, channel and picture of the batch.

    Gaussian window of 11 pixels, sigma 1.5, borders padded with zeros to keep the size, channels
    separate, as in PaddleOCR's SRMetric. Arguments as `psnr`.
    """
    return float(ssim_per_image(sr, hr).mean())


def ssim_per_image(sr: Nchw, hr: Nchw) -> PerImage:
    """Structural similarity of each picture: float64 (N,). See `ssim`."""
    x, y = _float64_pair(sr, hr)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    means: PerImage = (luminance * structure).mean(axis=(1, 2, 3))
    return means


@dataclass(frozen=True)
class SRFigures:
    """The results of `SRMetric`. PSNR in dB, SSIM in [-1, 1].

    psnr_avg, ssim_avg: PaddleOCR's figures, means over batches. all: their sum, which ranks checkpoints.
    psnr_image_mean: without pictures identical to HR, whose PSNR is infinite. identical: their number.
    """

    psnr_avg: float
    ssim_avg: float
    psnr_image_mean: float
    ssim_image_mean: float
    batches: int
    images: int
    identical: int

    @property
    def all(self) -> float:
        return self.psnr_avg + self.ssim_avg


@dataclass
class SRMetric:
    """PSNR and SSIM over batches, as PaddleOCR's SRMetric averages them, and per picture."""

    _psnr_batches: list[float] = field(default_factory=list)
    _ssim_batches: list[float] = field(default_factory=list)
    _psnr_images: list[float] = field(default_factory=list)
    _ssim_images: list[float] = field(default_factory=list)

    def update(self, sr: Nchw, hr: Nchw) -> None:
        """Add one batch. Arguments as `psnr`; an empty batch is a ValueError."""
        if not len(sr):
            raise ValueError("an empty batch has no PSNR")
        similarity = ssim_per_image(sr, hr)
        self._psnr_batches.append(psnr(sr, hr))
        self._ssim_batches.append(float(similarity.mean()))
        self._psnr_images.extend(psnr_per_image(sr, hr).tolist())
        self._ssim_images.extend(similarity.tolist())

    def result(self) -> SRFigures:
        """The figures so far; ValueError before the first batch."""
        if not self._psnr_batches:
            raise ValueError("no batch has been measured")
        finite = [value for value in self._psnr_images if math.isfinite(value)]
        return SRFigures(
            psnr_avg=_mean(self._psnr_batches),
            ssim_avg=_mean(self._ssim_batches),
            psnr_image_mean=_mean(finite) if finite else math.inf,
            ssim_image_mean=_mean(self._ssim_images),
            batches=len(self._psnr_batches),
            images=len(self._psnr_images),
            identical=len(self._psnr_images) - len(finite),
        )


def normalise_text(text: str) -> str:
    """Lowercase and keep [0-9a-z] only, as TextZoom's accuracy and the text-focused loss do."""
    return "".join(character for character in text.lower() if character in READABLE)


@dataclass(frozen=True)
class TextFigures:
    """Reading accuracy on words.

    accuracy: share of words read exactly, in [0, 1]; low, high: its 95 % Wilson interval.
    character_error_rate: edit distance over label length, all words together; it can exceed 1.
    """

    words: int
    correct: int
    accuracy: float
    low: float
    high: float
    character_error_rate: float


def text_figures(readings: Sequence[str], labels: Sequence[str]) -> TextFigures:
    """Compare readings of a recogniser with labels, both after `normalise_text`.

    Equal lengths, at least one, else ValueError. A label of punctuation alone normalises to "", so an empty
    reading is right, as in FudanOCR.
    """
    if not labels:
        raise ValueError("no words to compare")
    pairs = [(normalise_text(r), normalise_text(t)) for r, t in zip(readings, labels, strict=True)]
    correct = sum(reading == label for reading, label in pairs)
    edits = sum(Levenshtein.distance(reading, label) for reading, label in pairs)
    characters = sum(len(label) for _, label in pairs)
    low, high = wilson_interval(correct, len(pairs))
    return TextFigures(
        words=len(pairs),
        correct=correct,
        accuracy=correct / len(pairs),
        low=low,
        high=high,
        character_error_rate=edits / characters if characters else math.nan,
    )


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Confidence bounds of a share (Wilson 1927), valid near 0 and 1 too; z = 1.96 gives 95 %."""
    if not 0 <= successes <= trials or not trials:
        raise ValueError(f"{successes} successes in {trials} trials is no share")
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _float64_pair(sr: Nchw, hr: Nchw) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if sr.shape != hr.shape or sr.ndim != 4:
        raise ValueError(f"sr {sr.shape} and hr {hr.shape} must both be (N, 3, H, W)")
    return sr.astype(np.float64), hr.astype(np.float64)


def _squared_error(sr: Nchw, hr: Nchw) -> npt.NDArray[np.float64]:
    x, y = _float64_pair(sr, hr)
    return (PEAK * (x - y)) ** 2


def _decibels(mse: npt.ArrayLike) -> PerImage:
    with np.errstate(divide="ignore"):  # identical pictures give inf
        return np.asarray(20 * np.log10(PEAK / np.sqrt(mse)))


def _blur(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gaussian window over H and W with zeros beyond the border: (N, C, H, W) -> the same shape."""
    height, width = x.shape[-2:]
    # The window is an outer product, so each axis takes one matrix product.
    blurred: npt.NDArray[np.float64] = _window_matrix(height) @ x @ _window_matrix(width)
    return blurred


@cache
def _window_matrix(size: int) -> npt.NDArray[np.float64]:
    """(size, size), symmetric: row i holds the window centred on i, cut off at the border."""
    reach = SSIM_WINDOW // 2
    offsets = np.arange(size)[:, None] - np.arange(size)[None, :]
    window = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * SSIM_SIGMA**2))
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2)) / window.sum()
    return np.where(np.abs(offsets) <= reach, weights, 0.0)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
