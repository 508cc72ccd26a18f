"""Rendered words: a crop of scene text as a detector would cut it, sharp enough to serve as HR.

    text -> font, glyph masks -> perspective -> ground, shadow, rim, fill -> light -> lens -> RGB

    from training.data.fonts import find_fonts
    rgb = render_word("Harbour", config=SynthConfig(), fonts=find_fonts(), seed=7)

The same seed, fonts, Pillow and OpenCV give the same bytes in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from training.data.fonts import Font, fonts_for
from training.data.glyphs import EM_PX, GlyphStyle, Lettering, draw_word, lay_out
from training.data.grounds import gradient, photo_piece, soft_shadow, texture
from training.errors import DataError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, the recognisers' grey
Rng = np.random.Generator


@dataclass(frozen=True)
class SynthConfig:
    """Shares are probabilities; lengths without a unit are fractions of the crop's height."""

    height_px: tuple[int, int] = (32, 64)  # HR is 32 high; shrinking more than that sharpens some
    fill: tuple[float, float] = (0.62, 0.92)  # ink height: detectors cut tightly, with little margin
    margin: tuple[float, float] = (0.06, 0.35)  # ground left and right of the ink
    stretch: tuple[float, float] = (0.8, 1.25)  # condensed to wide, beyond what the fonts hold
    spacing_share: float = 0.4
    spacing: tuple[float, float] = (-0.03, 0.22)  # extra advance between letters, of the em
    bold_share: float = 0.4  # signs are set heavier than text fonts
    bold_px: tuple[int, int] = (1, 3)  # at an em of 64
    outline_share: float = 0.12
    outline_px: tuple[int, int] = (2, 5)  # at an em of 64
    arc_share: float = 0.06  # baseline bent, as on cups and shop fronts
    arc: float = 0.1  # rise of the middle, of the width, up or down
    rotate_deg: float = 5.0
    shear: float = 0.15
    perspective: float = 0.1  # displacement of each corner, of the ink's height
    neighbour_share: float = 0.15  # pieces of the next line or word inside the crop
    photo_share: float = 0.35  # only with photographs given; else their share goes to textures
    texture_share: float = 0.3
    gradient_share: float = 0.15  # what remains is plain
    drop_shadow_share: float = 0.2
    glow_share: float = 0.06  # lit letters
    bevel_share: float = 0.12  # raised letters: one edge bright, the other dark
    soft_shadow_share: float = 0.25
    fade_share: float = 0.4  # contrast reduced towards the floor: haze, reflections, old paint
    min_contrast: float = 55.0  # luma between ink and ground before light, of 255: less is not readable
    lens_sigma_px: tuple[float, float] = (0.25, 0.75)  # rendered edges are sharper than any camera's
    noise_std: tuple[float, float] = (0.0, 3.0)  # of 255


def render_word(
    text: str,
    *,
    config: SynthConfig,
    fonts: Sequence[Font],
    seed: int,
    grounds: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """A word as scene text, uint8 (H, W, 3) RGB, H within config.height_px, W by the word's proportion.

    grounds: photographs, uint8 (h, w, 3) RGB (see `load_grounds`); without them textures stand in.
    DataError when the text is blank or no font has all its characters.
    """
    if not text.strip():
        raise DataError("cannot render a blank word")
    rng = np.random.default_rng(seed)
    able = fonts_for(text, fonts)
    lettering = draw_word(text, able[int(rng.integers(len(able)))], _style(text, config, rng))
    height = int(rng.integers(*config.height_px, endpoint=True))
    corners, width = _corners(lettering, height, config, rng)
    masks = lay_out(lettering, corners, (height, width))  # (H, W, 2)
    ground = _ground((height, width), config, rng, grounds)
    ink = _readable(_colour(rng), float(ground.mean((0, 1)) @ _LUMA), config.min_contrast)
    img, contrast = _compose(ground, ink, masks, config, rng)
    return _photograph(img, contrast, config, rng)


def _style(text: str, config: SynthConfig, rng: Rng) -> GlyphStyle:
    chance = rng.random(5)  # drawn at once, so that one share does not shift another's draws
    neighbour = (None, "above", "below", "right")[int(rng.integers(1, 4))]
    letters = "".join(text[int(i)] for i in rng.integers(len(text), size=len(text)))  # glyphs the font has
    bold, rim = rng.integers(*config.bold_px, endpoint=True), rng.integers(*config.outline_px, endpoint=True)
    return GlyphStyle(
        bold_px=int(bold) if chance[0] < config.bold_share else 0,
        outline_px=int(rim) if chance[1] < config.outline_share else 0,
        spacing_px=EM_PX * rng.uniform(*config.spacing) if chance[2] < config.spacing_share else 0.0,
        rise=rng.uniform(-config.arc, config.arc) if chance[3] < config.arc_share else 0.0,
        neighbour=neighbour if chance[4] < config.neighbour_share else None,  # type: ignore[arg-type]
        neighbour_text=letters,
    )


def _corners(lettering: Lettering, height: int, config: SynthConfig, rng: Rng) -> tuple[np.ndarray, int]:
    aspect = lettering.aspect * rng.uniform(*config.stretch)
    x, y = np.array([-0.5, 0.5, 0.5, -0.5]) * aspect, np.array([-0.5, -0.5, 0.5, 0.5])
    # A long word tilted much would shrink to a line in its upright box; detectors cut those straight.
    angle = np.deg2rad(rng.uniform(-1.0, 1.0) * config.rotate_deg * min(1.0, 5.0 / aspect))
    x = x + rng.uniform(-config.shear, config.shear) * y
    quad = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)
    quad += rng.uniform(-config.perspective, config.perspective, (4, 2))  # (4, 2), ink height = 1
    quad -= quad.min(0)
    quad *= rng.uniform(*config.fill) * height / quad[:, 1].max()
    left, right = rng.uniform(*config.margin, size=2) * height
    width = max(4, round(left + quad[:, 0].max() + right))
    spare = height - quad[:, 1].max()
    return quad + np.array([left, spare * rng.uniform(0.25, 0.75)]), width


def _colour(rng: Rng) -> np.ndarray:
    if rng.random() < 0.5:  # half of all signs are black, white or grey
        grey = rng.choice([rng.uniform(0, 70), rng.uniform(70, 190), rng.uniform(190, 255)], p=[0.4, 0.2, 0.4])
        return np.clip(grey + rng.uniform(-10, 10, 3), 0, 255).astype(np.float32)
    hsv = np.array([[[rng.integers(180), rng.integers(60, 256), rng.integers(50, 256)]]], np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def _ground(size: tuple[int, int], config: SynthConfig, rng: Rng, photos: Sequence[np.ndarray] | None) -> np.ndarray:
    kind, base = rng.random(), _colour(rng)
    if photos and kind < config.photo_share:
        return photo_piece(photos, size, rng)
    if kind < config.photo_share + config.texture_share:
        return texture(base, size, rng)
    if kind < config.photo_share + config.texture_share + config.gradient_share:
        return gradient(base, base + rng.uniform(-70, 70, 3), size, rng)
    return np.full((*size, 3), base, np.float32)


def _readable(ink: np.ndarray, ground_luma: float, floor: float) -> np.ndarray:
    gap = float(ink @ _LUMA) - ground_luma
    if abs(gap) >= floor:
        return ink
    lighter = gap > 0 if min(255.0 - ground_luma, ground_luma) >= floor else ground_luma < 127.5
    target, wanted = (255.0, ground_luma + floor) if lighter else (0.0, ground_luma - floor)
    luma = ground_luma + gap
    return ink + (target - ink) * np.float32((wanted - luma) / (target - luma))


def _compose(
    ground: np.ndarray, ink: np.ndarray, masks: np.ndarray, config: SynthConfig, rng: Rng
) -> tuple[np.ndarray, float]:
    fill, rim = masks[..., :1], masks[..., 1:]  # (H, W, 1) each
    mean = ground.mean((0, 1))
    contrast = abs(float((ink - mean) @ _LUMA))
    spread = float((ground @ _LUMA).std())
    img = mean + (ground - mean) * min(1.0, 0.35 * contrast / max(spread, 1e-3))  # ground never louder than ink
    if rng.random() < config.drop_shadow_share:
        img = img * (1.0 - rng.uniform(0.3, 0.8) * _shifted(rim, rng.uniform(-0.08, 0.08, 2), rng))
    if rng.random() < config.glow_share:
        halo = cv2.GaussianBlur(rim, (0, 0), 0.12 * len(rim))[..., None]
        img = img + halo * (ink - mean) * 0.5
    shade = _colour(rng) if rng.random() < 0.4 else np.float32(0.0 if ink @ _LUMA > 127 else 255.0)
    img = img * (1.0 - rim) + rim * shade if (rim - fill).max() > 0.5 else img
    letters = gradient(ink, ink * rng.uniform(0.75, 1.0), img.shape[:2], rng)
    img = img * (1.0 - fill) + fill * letters
    if rng.random() < config.bevel_share:
        img = img + (fill - _shifted(fill, np.array([0.03, 0.03]), rng, soft=0.01)) * rng.uniform(-60, 60)
    return img, contrast


def _shifted(mask: np.ndarray, offset: np.ndarray, rng: Rng, *, soft: float | None = None) -> np.ndarray:
    height, width = mask.shape[:2]
    dx, dy = offset * height
    moved = cv2.warpAffine(mask, np.array([[1, 0, dx], [0, 1, dy]], np.float32), (width, height))
    sigma = height * (rng.uniform(0.01, 0.05) if soft is None else soft)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), sigma))[..., None]


def _photograph(img: np.ndarray, contrast: float, config: SynthConfig, rng: Rng) -> np.ndarray:
    if rng.random() < config.fade_share:
        mean = img.mean((0, 1))
        img = mean + (img - mean) * rng.uniform(min(1.0, config.min_contrast / max(contrast, 1.0)), 1.0)
    if rng.random() < config.soft_shadow_share:
        img = img * soft_shadow(img.shape[:2], rng)[..., None]
    img = cv2.GaussianBlur(img.astype(np.float32), (0, 0), rng.uniform(*config.lens_sigma_px))
    noise = rng.standard_normal(img.shape, np.float32) * np.float32(rng.uniform(*config.noise_std))
    return np.clip(np.rint(img + noise), 0.0, 255.0).astype(np.uint8)
