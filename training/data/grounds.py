"""Backgrounds of rendered words: plain, gradient, procedural texture, a page, or a piece of a photograph.

Photographs come only from the user's folder (`load_grounds`). Without one, textures replace them: octave noise,
brick, planks, asphalt, two-tone signs. They vary as real walls do, but a model trained on them alone has not seen
real clutter.

Grounds are planar, (3, H, W): numpy broadcasts a mask or a colour over planes several times faster than over
interleaved pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from model_store import pictures
from model_store.errors import PictureError
from model_store.left_out import system_file
from training.errors import DataError

_PHOTO_SIDE = 640  # longer side kept; a word shows only a small piece, and a thousand photos must fit


def load_grounds(folder: Path) -> tuple[np.ndarray, ...]:
    """The pictures below a folder as uint8 (h, w, 3) RGB, ordered by path, longer side at most 640.

    DataError when there is none, or one cannot be read.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in pictures.SUFFIXES and not system_file(path.name)
    )
    if not paths:
        raise DataError(f"no {', '.join(pictures.SUFFIXES)} picture under {folder}")
    return tuple(_load_photo(path) for path in paths)


def _load_photo(path: Path) -> np.ndarray:
    try:
        rgb = pictures.decode(path.read_bytes())
    except (OSError, PictureError) as exc:
        raise DataError(f"cannot read the picture {path}: {exc}") from exc
    scale = _PHOTO_SIDE / max(rgb.shape[:2])
    return cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1.0 else rgb


def photo_piece(photos: Sequence[np.ndarray], size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (3, H, W) in 0..255: a random piece of a random photo, enlarged or shrunk to size (H, W)."""
    photo = photos[int(rng.integers(len(photos)))]
    height, width = size
    limit = min(photo.shape[0] / height, photo.shape[1] / width)
    zoom = limit * rng.uniform(0.25, 1.0) if limit < 4 else rng.uniform(0.7, 4.0)
    h = min(photo.shape[0], max(2, round(height * zoom)))
    w = min(photo.shape[1], max(2, round(width * zoom)))
    top, left = rng.integers(photo.shape[0] - h + 1), rng.integers(photo.shape[1] - w + 1)
    piece = cv2.resize(photo[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(piece.transpose(2, 0, 1), np.float32)  # (3, H, W)


def texture(base: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (3, H, W): a base colour (3,) in 0..255 under one of the procedural textures."""
    relief = _TEXTURES[int(rng.integers(len(_TEXTURES)))](size, rng)  # (H, W), about [-1, 1]
    tint = 1.0 + rng.uniform(-0.3, 0.3, 3)  # a texture's light and dark differ in hue as well
    return np.asarray(planes(base) + relief * planes(tint * rng.uniform(8.0, 40.0)))


def gradient(start: np.ndarray, end: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (3, H, W): colours start to end, (3,) each, along a random direction."""
    return np.asarray(planes(start) + planes(end - start) * _ramp(size, rng.uniform(0.0, 2.0 * np.pi)))


def scenery(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (3, H, W) in 0..255: a strong, coloured ground behind a subtitle, in place of a photograph."""
    near, far = rng.uniform(0.0, 255.0, (2, 1)) + rng.normal(
        0.0, 35.0, (2, 3)
    )  # films are less coloured than signs
    share = np.clip(0.5 + octave_noise(size, rng, octaves=3) * rng.uniform(0.5, 2.0), 0.0, 1.0)
    relief = _TEXTURES[int(rng.integers(len(_TEXTURES)))](size, rng) * np.float32(rng.uniform(10.0, 50.0))
    return np.asarray(np.clip(planes(near) + planes(far - near) * share + relief, 0.0, 255.0))


def page_colour(rng: np.random.Generator) -> np.ndarray:
    """float32 (3,): the ground of a page or window: mostly white, else a tint, dark grey or a button's colour."""
    kind = rng.random()
    if kind < 0.5:
        return np.full(3, 255.0 if rng.random() < 0.7 else rng.uniform(235.0, 255.0), np.float32)
    if kind < 0.65:
        return rng.uniform(205.0, 255.0, 3).astype(np.float32)
    if kind < 0.9:
        return np.clip(rng.uniform(0.0, 50.0) + rng.uniform(0.0, 12.0, 3), 0.0, 255.0).astype(np.float32)
    return rng.uniform(0.0, 255.0, 3).astype(np.float32)


def planes(colour: np.ndarray) -> np.ndarray:
    """A colour (3,) as float32 (3, 1, 1), to broadcast over planes."""
    return colour.astype(np.float32)[:, None, None]


def octave_noise(size: tuple[int, int], rng: np.random.Generator, *, octaves: int = 4) -> np.ndarray:
    """float32 (H, W), about [-1, 1]: noise of halving cell size and halving weight (cloud-like)."""
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        cells = 2 << octave
        grid = rng.uniform(-1.0, 1.0, (cells, max(2, cells * width // height))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    return total


def soft_shadow(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (H, W) in [0.45, 1]: a light map with one soft edge across the crop."""
    edge = _ramp(size, rng.uniform(0.0, 2.0 * np.pi)) - rng.uniform(0.25, 0.75)
    lit = 1.0 / (1.0 + np.exp(-edge * rng.uniform(6.0, 40.0)))
    return np.asarray(1.0 - (1.0 - lit) * rng.uniform(0.15, 0.55), np.float32)


def _ramp(size: tuple[int, int], angle: float) -> np.ndarray:
    height, width = size
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    return x + y + np.float32(0.5)


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return octave_noise(size, rng)


def _asphalt(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    grain = cv2.GaussianBlur(rng.standard_normal(size, np.float32), (0, 0), rng.uniform(0.5, 1.2))
    return np.asarray(grain * 1.5 + octave_noise(size, rng, octaves=2) * 0.4)


def _planks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    height, width = size
    rows = rng.uniform(-1.0, 1.0, (max(4, height // 2), 3)).astype(np.float32)
    grain = cv2.resize(rows, (width, height), interpolation=cv2.INTER_CUBIC)
    seams = (np.arange(height) + rng.integers(height)) % max(8, int(height * rng.uniform(0.4, 0.9))) == 0
    return np.asarray(grain * 0.7 - seams[:, None] * np.float32(1.2))


def _bricks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    height, width = size
    course = int(rng.integers(8, max(9, height // 2)))
    y = np.arange(height)[:, None] + rng.integers(course)
    x = np.arange(width)[None, :] + (y // course % 2) * course  # every second course half a brick on
    mortar = (y % course < 1) | (x % (2 * course) < 1)
    joint = np.where(mortar, rng.uniform(-1.2, 1.2), 0.0)
    return np.asarray(octave_noise(size, rng) * 0.5 + joint, np.float32)


def _two_tone(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    relief = octave_noise(size, rng, octaves=2) * 0.1
    border = max(1, int(size[0] * rng.uniform(0.05, 0.2)))
    side = relief[:border] if rng.random() < 0.5 else relief[-border:]  # the rim of a sign, a shelf edge
    side += rng.choice([-1.5, 1.5])
    return relief


_TEXTURES: tuple[Callable[[tuple[int, int], np.random.Generator], np.ndarray], ...] = (
    _clouds, _asphalt, _planks, _bricks, _two_tone,
)  # fmt: skip
