"""Turns a drawn sheet into the picture that a user has: a screenshot, a film's frame, a scan or a photograph.

Each function returns the degraded picture, uint8 (H, W, 3), and the lines at their places in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from model_store.pixels import Rgb
from training.calibration.rendered import Damage, damaged
from training.data.degrade import degrade
from training.data.degrade_config import FULL, preset
from training.data.grounds import octave_noise, page_colour, texture
from training.pages.sheet import Line, Sheet, shrunk, warped

Rng = np.random.Generator
Captured = tuple[Rgb, Sequence[Line]]
SCREEN = replace(FULL, screen_share=1.0, screen_rescaled_share=0.25, jpeg_share=0.3, jpeg_quality=(70, 95))
SCAN = replace(FULL, scan_share=1.0, jpeg_share=1.0, jpeg_quality=(50, 90))
FILM = replace(FULL, misalign_share=0.0, light_share=0.0, sigma_px=(0.4, 2.0), sigma_tail_share=0.0,
               noise_std=(0.5, 3.0), jpeg_share=1.0, jpeg_quality=(45, 85), heavy_share=0.0)  # fmt: skip
PHOTO = replace(FULL, misalign_share=0.0, sigma_tail_share=0.0, heavy_share=0.0)
MAX_BLUR_PX = 3.5
HEIGHT_OF_DEGRADE = 32  # pixels: the height of text for which `degrade` has its blurs and noises


def screenshot(sheet: Sheet, rng: Rng) -> Captured:
    if sheet.zoom == 2:
        return degrade(sheet.rgb, config=SCREEN, seed=_seed(rng)), sheet.lines
    as_jpeg = Damage(jpeg=int(rng.integers(70, 96)) if rng.random() < 0.3 else 0)
    return damaged(sheet.rgb, as_jpeg, rng), sheet.lines


def frame(sheet: Sheet, em: float, rng: Rng) -> Captured:
    """Of a film, as JPEG."""
    return degrade(sheet.rgb, config=FILM, seed=_seed(rng), scale=2 * em / HEIGHT_OF_DEGRADE), sheet.lines


def scanned(sheet: Sheet, em: float, rng: Rng) -> Captured:
    """Askew by up to two degrees, grey, as JPEG."""
    under = np.full_like(sheet.rgb, 255)
    rgb, lines = warped(sheet.rgb, _enlarged(sheet), _turned(under, rng.uniform(-2, 2)), under)
    scale = sheet.zoom * em / HEIGHT_OF_DEGRADE
    return degrade(rgb, config=SCAN, seed=_seed(rng), scale=scale), shrunk(lines, sheet.zoom)


def faded_and_photographed(sheet: Sheet, em: float, rng: Rng, *, tilt: float) -> Captured:
    """Thermal paper on a table, tilted by up to `tilt` degrees, mildly out of focus."""
    rgb = _faded(sheet.rgb, rng)
    margin = round(2 * em)
    height, width = (2 * (side // 2 + 2 * margin) // 2 * 2 for side in rgb.shape[:2])
    ground = texture(page_colour(rng), (height, width), rng).transpose(1, 2, 0)
    under = np.rint(ground.clip(0, 255)).astype(np.uint8)
    offset = np.array([[1, 0, (width - rgb.shape[1]) / 2], [0, 1, (height - rgb.shape[0]) / 2], [0, 0, 1.0]])
    matrix = _turned(under, rng.uniform(-tilt, tilt)) @ offset
    picture, lines = warped(rgb, _enlarged(sheet), matrix, under)
    config, scale = replace(preset("mild"), misalign_share=0.0), 2 * em / HEIGHT_OF_DEGRADE
    return degrade(picture, config=config, seed=_seed(rng), scale=scale), shrunk(lines, 2)


def photographed_on_a_wall(sheet: Sheet, em: float, rng: Rng, *, blur: tuple[float, float]) -> Captured:
    """In perspective, blurred by a Gaussian, a disk or a motion. blur: range of its deviation over the em."""
    height, width = sheet.rgb.shape[:2]
    tall, wide = (round(1.16 * side) // 2 * 2 for side in (height, width))
    wall = texture(rng.uniform(60, 200, 3), (tall, wide), rng).transpose(1, 2, 0)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    reach = 0.07 * np.array([width, height])
    placed = corners + reach + rng.uniform(-0.9, 0.9, (4, 2)) * reach * (0.6, 0.6)
    matrix = cv2.getPerspectiveTransform(corners, placed.astype(np.float32)).astype(np.float64)
    rgb, lines = warped(sheet.rgb, _enlarged(sheet), matrix, np.rint(wall.clip(0, 255)).astype(np.uint8))
    sigma = 2 * min(MAX_BLUR_PX, em * rng.uniform(*blur))  # of the picture, which has twice the page's size
    disk, motion = 2 * sigma, 3.5 * sigma
    config = replace(PHOTO, sigma_px=(sigma,) * 2, defocus_radius_px=(disk,) * 2, motion_px=(motion,) * 2)
    return degrade(rgb, config=config, seed=_seed(rng)), shrunk(lines, 2)


def _faded(rgb: Rgb, rng: Rng) -> Rgb:
    """Paler towards one end and in patches, as thermal paper becomes in the light."""
    height, width = rgb.shape[:2]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    pale = rng.uniform(0.15, 0.65) * (down if rng.random() < 0.5 else 1 - down)
    pale = np.clip(pale + 0.12 * octave_noise((height, width), rng), 0, 0.75)[..., None]
    return np.rint(rgb * (1 - pale) + 246.0 * pale).astype(np.uint8)


def _turned(picture: Rgb, degrees: float) -> npt.NDArray[np.float64]:
    height, width = picture.shape[:2]
    return np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), [0, 0, 1]])


def _enlarged(sheet: Sheet) -> list[Line]:
    return shrunk(sheet.lines, 1 / sheet.zoom)


def _seed(rng: Rng) -> int:
    return int(rng.integers(2**31))
