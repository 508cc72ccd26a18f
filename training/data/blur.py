"""Blur kernels: float32 (K, K), K odd, that sum to 1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def _grid(reach: float) -> tuple[np.ndarray, np.ndarray]:
    return _axes(max(1, int(np.ceil(reach))))


@lru_cache(maxsize=64)
def _axes(half: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(-half, half + 1, dtype=np.float32)
    return axis[None, :], axis[:, None]


def gaussian_kernel(major: float, minor: float, angle: float) -> np.ndarray:
    """float32 (K, K) rotated Gaussian of standard deviations in pixels; angle in radians; sums to 1."""
    x, y = _grid(2.5 * major)  # 2.5 sigma holds 96 % in two dimensions; 3 costs 40 % more time
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))
    return np.asarray(kernel / kernel.sum(), np.float32)


def disk_kernel(radius: float) -> np.ndarray:
    """float32 (K, K) disk of a radius in pixels, its edge one pixel soft so that radii differ smoothly."""
    x, y = _grid(radius + 0.5)
    kernel = np.clip(radius + 0.5 - np.sqrt(x * x + y * y), 0.0, 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """float32 (K, K) straight smear of a length in pixels and an angle in radians, one pixel wide."""
    x, y = _grid(length / 2 + 0.5)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.clip(length / 2 + 0.5 - abs(along), 0.0, 1.0) * np.clip(1.0 - abs(across), 0.0, 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
