"""Degradation: a sharp HR crop becomes the LR crop of a camera, screen or scanner.

    HR -> misalign -> blur -> shrink x2 -> light -> noise -> sharpen -> JPEG -> LR     a photograph
    HR -> sub-pixels of a screen -> rescale -> JPEG -> LR                              `screen_share`
    HR -> grey, blur -> shrink x2 -> grain, black and white -> JPEG -> LR              `scan_share`

A minority (`heavy_share`) first goes through a second, rougher round at full size, in the spirit of
BSRGAN (Zhang et al., ICCV 2021) and Real-ESRGAN (Wang et al., ICCVW 2021). Ranges follow TextZoom's pairs
and later work on text super-resolution; `DegradeConfig` gives the reason of each.

    from training.data.degrade import degrade, degrade_pair
    from training.data.degrade_config import preset
    lr = degrade(hr, config=preset("medium"), seed=7)
    target, lr = degrade_pair(hr, config=preset("crops"), seed=7, scale=48 / 32)

The same seed gives the same bytes in every process with the same numpy and OpenCV.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np

from training.data.blur import disk_kernel, gaussian_kernel, motion_kernel
from training.data.degrade_config import FULL, DegradeConfig, Range

Image: TypeAlias = np.ndarray  # float32 (H, W, 3) RGB in 0..255 between the operators

_SHARP_JPEG = (80, 95)  # quality; below, blocks show in a crop of 16 px
_FILTERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Longest blur of high text, HR px: the service shrinks more blurred crops first.
MAX_SIGMA_PX = 5.0  # 2.5 LR px
MAX_RADIUS_PX = 6.5  # a disk blurs like a Gaussian of half its radius, and looks harder
MAX_MOTION_PX = 12.0  # a smear's deviation is its length over 3.5


def degrade(hr: np.ndarray, *, config: DegradeConfig = FULL, seed: int, scale: float = 1.0) -> np.ndarray:
    """Make an LR crop of half the height and width, as from a camera, a screen or a scanner.

    hr: uint8 (H, W, 3) RGB, H and W even and at least 4. seed: non-negative. scale: height of the text in
    pixels over 32; blur grows with it up to the MAX_ limits. ValueError for another array or scale.
    Returns uint8 (H/2, W/2, 3) RGB.
    """
    return degrade_pair(hr, config=config, seed=seed, scale=scale)[1]


def degrade_pair(
    hr: np.ndarray, *, config: DegradeConfig = FULL, seed: int, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Make an LR crop, and the target to restore from it -> (target, lr). Arguments as for `degrade`.

    The target is hr, except for a scan: then it has the scan's grey and contrast, because the LR crop has no
    colours, and a network trained to guess them would tint every scan.
    """
    _check(hr, scale)
    rng = np.random.default_rng(seed)
    # No draw without a share, so that seeds of older configurations give the same pixels.
    kind = rng.random() if any(config.kind_shares) else 1.0
    sharp, screen, scan, clean = np.cumsum(config.kind_shares)
    if kind < sharp:
        return hr, _sharp(hr, config, rng)
    if kind < screen:
        return hr, _screen(hr, config, rng)
    if kind < scan:
        return _scan(hr, config, rng, scale)
    return hr, _photograph(hr, config, rng, scale, clean=kind < clean)


def _check(hr: np.ndarray, scale: float) -> None:
    if hr.dtype != np.uint8 or hr.ndim != 3 or hr.shape[2] != 3:
        raise ValueError(f"hr must be uint8 (H, W, 3), got {hr.dtype} {hr.shape}")
    height, width = hr.shape[:2]
    if height % 2 or width % 2 or min(height, width) < 4:
        raise ValueError(f"hr must have even sides of at least 4 pixels, got {height} x {width}")
    if not 0.0 < scale < np.inf:
        raise ValueError(f"scale must be a positive number, got {scale}")


def _photograph(
    hr: np.ndarray, config: DegradeConfig, rng: np.random.Generator, scale: float, *, clean: bool
) -> np.ndarray:
    height, width = hr.shape[:2]
    img = _misalign(hr.astype(np.float32), config, rng)
    img = cv2.filter2D(img, -1, _blur_kernel(config, rng, scale), borderType=cv2.BORDER_REPLICATE)
    if not clean and rng.random() < config.heavy_share:
        img = _rough_round(img, config, rng, scale)
    img = cv2.resize(img, (width // 2, height // 2), interpolation=_filter(config, rng))
    img = _light(img, config, rng)  # after the blur, as in a camera: the sensor is behind the lens
    if clean:
        return _to_uint8(img)
    if rng.random() < config.noise_share:
        img = _noise(img, rng.uniform(*config.noise_std), config.grey_noise_share, rng)
    if rng.random() < config.sharpen_share:
        soft = cv2.GaussianBlur(img, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
        img = img + (img - soft) * np.float32(rng.uniform(*config.sharpen_amount))
    return _saved(_to_uint8(img), config.jpeg_quality, config, rng)


def _saved(
    lr: np.ndarray, quality: tuple[int, int], config: DegradeConfig, rng: np.random.Generator
) -> np.ndarray:
    return _jpeg(lr, _integer(quality, rng)) if rng.random() < config.jpeg_share else lr


def _sharp(hr: np.ndarray, config: DegradeConfig, rng: np.random.Generator) -> np.ndarray:
    height, width = hr.shape[:2]
    lr = cv2.resize(hr, (width // 2, height // 2), interpolation=_filter(config, rng))
    return _saved(np.asarray(lr), _SHARP_JPEG, config, rng)


def _screen(hr: np.ndarray, config: DegradeConfig, rng: np.random.Generator) -> np.ndarray:
    """Letters drawn with sub-pixels of a screen, perhaps rescaled afterwards."""
    height, width = hr.shape[0] // 2, hr.shape[1] // 2
    rescaled = rng.random() < config.screen_rescaled_share
    scale = rng.uniform(*config.screen_scale) if rescaled else 1.0
    size = max(2, round(width / scale)), max(2, round(height / scale))  # of the screen's own pixels
    third = (1 if rng.random() < 0.5 else -1) * hr.shape[1] / size[0] / 3  # HR px; sub-pixels are RGB or BGR
    # Renderers filter sub-pixels to means over a pixel's area, a third of a pixel apart.
    channels = [_moved(hr[..., i].astype(np.float32), (i - 1) * third) for i in range(3)]
    img = cv2.resize(cv2.merge(channels), size, interpolation=cv2.INTER_AREA)
    if rescaled:
        img = cv2.resize(img, (width, height), interpolation=_FILTERS[int(rng.integers(1, 3))])
    return _saved(_to_uint8(img), config.jpeg_quality, config, rng)


def _moved(plane: np.ndarray, offset: float) -> np.ndarray:
    """The plane (H, W) sampled `offset` pixels to the right of each pixel."""
    matrix = np.array([[1, 0, -offset], [0, 1, 0]], np.float32)
    moved = cv2.warpAffine(plane, matrix, plane.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved)


def _scan(
    hr: np.ndarray, config: DegradeConfig, rng: np.random.Generator, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    grey = hr.astype(np.float32) @ _LUMA  # (H, W)
    sigma = rng.uniform(*_scaled(config.scan_sigma_px, scale, MAX_SIGMA_PX))
    lr = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    lr = cv2.resize(lr, (hr.shape[1] // 2, hr.shape[0] // 2), interpolation=_filter(config, rng))
    # Levels of the blurred crop: with the sharp crop's, blurred thin strokes would count as paper.
    low, high = np.percentile(lr, (3, 97))
    contrast = max(16.0, high - low)  # a plain crop stays plain
    middle = low + (high - low) * rng.uniform(0.4, 0.6)
    gain = rng.uniform(*config.scan_gain)
    black, white = rng.uniform(0.0, 40.0), rng.uniform(235.0, 255.0)

    def toned(plane: np.ndarray) -> np.ndarray:
        share = 0.5 + 0.5 * np.tanh(2.0 * gain * (plane - middle) / contrast)
        return cv2.cvtColor(_to_uint8(black + (white - black) * share), cv2.COLOR_GRAY2RGB)

    grain = rng.standard_normal(lr.shape, np.float32) * np.float32(rng.uniform(*config.scan_grain) * contrast)
    return toned(grey), _saved(toned(lr + grain), config.jpeg_quality, config, rng)


def _misalign(img: Image, config: DegradeConfig, rng: np.random.Generator) -> Image:
    if rng.random() >= config.misalign_share:
        return img
    height, width = img.shape[:2]
    shift = rng.uniform(-config.shift_px, config.shift_px, (2, 1))
    corners = shift + rng.uniform(-config.corner_px, config.corner_px, (2, 4))  # x and y of each corner's move
    # Moves are interpolated between the corners: on a 4:1 crop, a true perspective would turn 0.8 px at the
    # corners into 3 px at the middle.
    x, y = (corners.astype(np.float32) @ _corner_weights(height, width)).reshape(2, height, width)
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    # Cubic: linear would add a random blur that the ranges do not count.
    warped = cv2.remap(img, x + columns, y + rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped)


@lru_cache(maxsize=32)
def _corner_weights(height: int, width: int) -> np.ndarray:
    """float32 (4, H * W): each pixel's bilinear weights of the four corners."""
    v, u = np.linspace(0, 1, height, dtype=np.float32)[:, None], np.linspace(0, 1, width, dtype=np.float32)
    return np.stack([(1 - v) * (1 - u), (1 - v) * u, v * u, v * (1 - u)]).reshape(4, -1)


def _light(img: Image, config: DegradeConfig, rng: np.random.Generator) -> Image:
    if rng.random() >= config.light_share:
        return img
    gain = np.float32(rng.uniform(*config.contrast))
    offset = np.float32(rng.uniform(*config.brightness))
    mean = np.float32(img.mean())
    return np.asarray(np.clip((img - mean) * gain + (mean + offset), 0.0, 255.0))


def _blur_kernel(config: DegradeConfig, rng: np.random.Generator, scale: float) -> np.ndarray:
    kind = rng.random()
    angle = rng.uniform(0.0, np.pi)
    if kind < config.gaussian_share:
        tail = rng.random() < config.sigma_tail_share
        sigma = config.sigma_tail_px if tail else config.sigma_px
        major = rng.uniform(*_scaled(sigma, scale, MAX_SIGMA_PX))
        return gaussian_kernel(major, major * rng.uniform(*config.anisotropy), angle)
    if kind < config.gaussian_share + config.defocus_share:
        return disk_kernel(rng.uniform(*_scaled(config.defocus_radius_px, scale, MAX_RADIUS_PX)))
    return motion_kernel(rng.uniform(*_scaled(config.motion_px, scale, MAX_MOTION_PX)), angle)


def _scaled(lengths: Range, scale: float, limit: float) -> Range:
    """The range for text `scale` times as high; cut before drawing, so that draws do not pile up at the limit."""
    return min(lengths[0] * scale, limit), min(lengths[1] * scale, limit)


def _rough_round(img: Image, config: DegradeConfig, rng: np.random.Generator, scale: float) -> Image:
    height, width = img.shape[:2]
    img = cv2.GaussianBlur(img, (0, 0), rng.uniform(*_scaled(config.heavy_sigma_px, scale, MAX_SIGMA_PX)))
    zoom = rng.uniform(*config.heavy_scale)
    size = (max(2, round(width * zoom)), max(2, round(height * zoom)))
    img = cv2.resize(img, size, interpolation=_filter(config, rng))
    img = _noise(img, rng.uniform(*config.heavy_noise_std), config.grey_noise_share, rng)
    dirty = _jpeg(_to_uint8(img), _integer(config.heavy_jpeg_quality, rng))
    return np.asarray(cv2.resize(dirty.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR))


def _filter(config: DegradeConfig, rng: np.random.Generator) -> int:
    # At exactly one half OpenCV's linear filter equals area; it differs in the rough round's free scales.
    edges = np.cumsum(config.filter_weights)
    return _FILTERS[min(2, int(np.searchsorted(edges, rng.random() * edges[-1], side="right")))]


def _noise(img: Image, std: float, grey_share: float, rng: np.random.Generator) -> Image:
    channels = 1 if rng.random() < grey_share else 3
    noise = rng.standard_normal((*img.shape[:2], channels), np.float32)
    return np.asarray(img + noise * np.float32(std))


def _jpeg(img: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", img[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert bgr is not None, "the JPEG was encoded here"
    return np.ascontiguousarray(bgr[..., ::-1])


def _integer(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1], endpoint=True))


def _to_uint8(img: Image) -> np.ndarray:
    return np.asarray(np.clip(np.rint(img), 0.0, 255.0), np.uint8)
