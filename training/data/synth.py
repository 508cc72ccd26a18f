"""Rendered words: a crop of scene text as a detector would cut it, sharp enough to serve as HR.

    text -> font, glyph masks -> perspective -> ground, shadow, rim, fill -> light -> lens -> RGB

A share of the words may be subtitles (white or yellow, dark rim, strong ground) or text of a screen instead.

    from training.data.fonts import find_fonts
    rgb = render_word("Harbour", config=SynthConfig(), fonts=find_fonts(), seed=7)

The same seed, fonts, Pillow and OpenCV give the same bytes in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np

from training.data.degrade_config import check_ranges
from training.data.fonts import Font, choose_font
from training.data.glyphs import EM_PX, GlyphStyle, Lettering, draw_word, lay_out
from training.data.grounds import gradient, page_colour, photo_piece, planes, scenery, soft_shadow, texture
from training.errors import ConfigError, DataError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, the recognisers' grey
_GREYS = ((0, 70), (0, 70), (70, 190), (190, 255), (190, 255))  # black and white more than between
_DENSE = "\u2e80"  # from here on lie Chinese, Japanese and Korean characters, whose strokes run together sooner
Rng: TypeAlias = np.random.Generator


@dataclass(frozen=True)
class SynthConfig:
    """Ranges of every choice; lengths without a unit are fractions of the crop's height.

    A pair (low, high) is drawn from uniformly; a share is a probability. ConfigError names an impossible value.
    """

    height_px: tuple[int, int] = (32, 64)  # HR is 32 high; shrinking from 64 sharpens some words
    fill: tuple[float, float] = (0.62, 0.92)  # ink height: detectors cut tightly, with little margin
    margin: tuple[float, float] = (0.06, 0.35)  # ground left and right of the ink
    stretch: tuple[float, float] = (0.8, 1.25)  # condensed to wide, beyond what the fonts hold
    spacing_share: float = 0.4
    spacing: tuple[float, float] = (-0.03, 0.22)  # extra advance between letters, of the em
    bold_share: float = 0.4  # signs are set heavier than text fonts
    bold_px: tuple[int, int] = (1, 2)  # at an em of 48
    outline_share: float = 0.12
    outline_px: tuple[int, int] = (1, 4)  # at an em of 48
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
    worn_share: float = 0.4  # letters paler towards one end of the word
    fade_share: float = 0.4  # contrast reduced towards the floor: haze, reflections, old paint
    min_contrast: float = 55.0  # luma between ink and ground before light, of 255: less is not readable
    lens_sigma_px: tuple[float, float] = (0.25, 0.75)  # rendered edges are sharper than any camera's
    noise_std: tuple[float, float] = (0.0, 3.0)  # of 255
    subtitle_share: float = 0.0  # films and memes: a rim makes them readable on any ground
    screen_share: float = 0.0  # pages and windows: straight, evenly lit, no noise

    def __post_init__(self) -> None:
        check_ranges(self, positive=("height_px", "fill", "stretch", "lens_sigma_px"), signed=("spacing",))
        if self.subtitle_share + self.screen_share > 1.0:
            raise ConfigError("subtitle_share + screen_share must not exceed 1")


def render_word(
    text: str,
    *,
    config: SynthConfig,
    fonts: Sequence[Font],
    seed: int,
    grounds: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """A word as scene text, uint8 (H, W, 3) RGB, H within config.height_px, W by the word's proportion.

    grounds: photographs, uint8 (h, w, 3) RGB (see `load_grounds`); without them, textures replace them.
    DataError when the text is blank or no font has all its characters.
    """
    if not text.strip():
        raise DataError("cannot render a blank word")
    rng = np.random.default_rng(seed)
    # No draw without a share, so that seeds of older configurations give the same pixels.
    kind = rng.random() if config.subtitle_share or config.screen_share else 1.0
    subtitle = kind < config.subtitle_share
    screen = not subtitle and kind < config.subtitle_share + config.screen_share
    config = _as_subtitle(config) if subtitle else _on_screen(config) if screen else config
    font, style = choose_font(text, fonts, rng), _style(text, config, rng)
    height = int(rng.integers(*config.height_px, endpoint=True))
    lettering = draw_word(text, font, style, height_px=height)
    corners, width = _corners(lettering, height, config, rng)
    masks = lay_out(lettering, corners, (height, width))  # (2, H, W)
    if subtitle:
        return _photograph(_subtitle(masks, rng, grounds), 255.0, config, rng)
    if screen:
        ground = np.broadcast_to(planes(page_colour(rng)), (3, height, width))
    else:
        ground = _ground((height, width), config, rng, grounds)  # (3, H, W)
    mean = ground.mean((1, 2))  # (3,)
    ink = _readable(_colour(rng), float(mean @ _LUMA), config.min_contrast)
    contrast = abs(float((ink - mean) @ _LUMA))
    img = _quieter(ground, mean, 0.28 * contrast)
    img = _letter(img, masks, (ink, mean), rimmed=style.outline_px > 0, config=config, rng=rng)
    return _photograph(img, contrast, config, rng)


@lru_cache(maxsize=16)
def _on_screen(config: SynthConfig) -> SynthConfig:
    """Settings of screen text: no lens, noise, rim or shadow."""
    return replace(
        _upright(config), outline_share=0.0, drop_shadow_share=0.0, min_contrast=90.0,
        lens_sigma_px=(0.05, 0.25), noise_std=(0.0, 0.0),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _as_subtitle(config: SynthConfig) -> SynthConfig:
    """Settings of subtitles: letters heavy enough to stay white inside a dark rim."""
    return replace(_upright(config), bold_share=0.8, outline_share=1.0, outline_px=(2, 4))


def _upright(config: SynthConfig) -> SynthConfig:
    """Settings of text that no camera has seen: straight, evenly lit and unworn."""
    return replace(
        config, arc_share=0.0, rotate_deg=0.0, shear=0.0, perspective=0.0, stretch=(0.95, 1.05),
        spacing=(0.0, 0.08), spacing_share=0.2, bold_px=(1, 1), glow_share=0.0, bevel_share=0.0,
        soft_shadow_share=0.0, worn_share=0.0, fade_share=0.0,
    )  # fmt: skip


def _subtitle(masks: np.ndarray, rng: Rng, photos: Sequence[np.ndarray] | None) -> np.ndarray:
    fill, rim = masks  # (H, W)
    ink = np.array(
        [255.0, 255.0, 255.0] if rng.random() < 0.65 else [255.0, rng.uniform(205, 250), rng.uniform(0, 110)]
    )
    img = photo_piece(photos, fill.shape, rng) if photos else scenery(fill.shape, rng)  # (3, H, W)
    dark = np.float32(rng.uniform(0.8, 1.0))
    if rng.random() < 0.35:  # a soft shadow about the letters instead of a hard rim
        shade = _shifted(rim, rng.uniform(0.0, 0.04, 2), rng.uniform(0.03, 0.07)) * np.float32(2.0)
    else:
        shade = rim
    img = img * (1.0 - dark * np.minimum(shade, 1.0))
    return img + fill * (planes(ink * rng.uniform(0.88, 1.0)) - img)


def _style(text: str, config: SynthConfig, rng: Rng) -> GlyphStyle:
    chance = rng.random(5)  # drawn at once, so that one share does not shift another's draws
    neighbour = (None, "above", "below", "right")[int(rng.integers(1, 4))]
    letters = "".join(text[int(i)] for i in rng.integers(len(text), size=len(text)))  # glyphs the font has
    bold, rim = rng.integers(*config.bold_px, endpoint=True), rng.integers(*config.outline_px, endpoint=True)
    if max(text) >= _DENSE:
        bold = np.minimum(bold, 1)
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
        grey = rng.uniform(*_GREYS[int(rng.integers(len(_GREYS)))])
        return np.clip(grey + rng.uniform(-10, 10, 3), 0, 255).astype(np.float32)
    common = rng.normal((0, 13, 26, 62, 108), (5, 4, 4, 14, 9))  # red, orange, yellow, green, blue paint
    hue = rng.uniform(0, 180) if rng.random() < 0.25 else common[int(rng.integers(5))]
    hsv = np.array([[[hue % 180, 255 * rng.beta(2.0, 1.6), 255 * rng.beta(2.5, 1.5)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def _ground(
    size: tuple[int, int], config: SynthConfig, rng: Rng, photos: Sequence[np.ndarray] | None
) -> np.ndarray:
    kind, base = rng.random(), _colour(rng)
    if photos and kind < config.photo_share:
        return photo_piece(photos, size, rng)
    if kind < config.photo_share + config.texture_share:
        return texture(base, size, rng)
    if kind < config.photo_share + config.texture_share + config.gradient_share:
        return gradient(base, base + rng.uniform(-70, 70, 3), size, rng)
    return np.broadcast_to(planes(base), (3, *size))


def _readable(ink: np.ndarray, ground_luma: float, floor: float) -> np.ndarray:
    gap = float(ink @ _LUMA) - ground_luma
    if abs(gap) >= floor:
        return ink
    lighter = gap > 0 if min(255.0 - ground_luma, ground_luma) >= floor else ground_luma < 127.5
    target, wanted = (255.0, ground_luma + floor) if lighter else (0.0, ground_luma - floor)
    luma = ground_luma + gap
    return ink + (target - ink) * np.float32((wanted - luma) / (target - luma))


def _quieter(ground: np.ndarray, mean: np.ndarray, limit: float) -> np.ndarray:
    """The ground with the standard deviation of its green limited, so that the ink stays readable."""
    spread = float(ground[1].std())
    return ground if spread <= limit else planes(mean) + (ground - planes(mean)) * np.float32(limit / spread)


def _letter(
    img: np.ndarray,
    masks: np.ndarray,
    colours: tuple[np.ndarray, np.ndarray],
    *,
    rimmed: bool,
    config: SynthConfig,
    rng: Rng,
) -> np.ndarray:
    (ink, mean), (fill, rim) = colours, masks  # fill and rim (H, W), img (3, H, W)
    if rng.random() < config.drop_shadow_share:
        dark = rng.uniform(0.3, 0.8)
        img = img * (1.0 - dark * _shifted(rim, rng.uniform(-0.08, 0.08, 2), rng.uniform(0.01, 0.05)))
    if rng.random() < config.glow_share:
        img = img + cv2.GaussianBlur(rim, (0, 0), 0.12 * len(rim)) * planes((ink - mean) * 0.5)
    if rimmed:
        plain = np.full(3, 0.0 if ink @ _LUMA > 127 else 255.0)  # the rim sign painters use
        img = img + rim * (planes(_colour(rng) if rng.random() < 0.4 else plain) - img)
    worn = rng.random() < config.worn_share
    faded = ink + (mean - ink) * rng.uniform(0.0, 0.3)
    letters = gradient(ink, faded, fill.shape, rng) if worn else planes(ink)
    img = img + fill * (letters - img)
    if rng.random() < config.bevel_share:
        img = img + (fill - _shifted(fill, np.array([0.03, 0.03]), 0.01)) * np.float32(rng.uniform(-60, 60))
    return img


def _shifted(mask: np.ndarray, offset: np.ndarray, sigma: float) -> np.ndarray:
    """The mask (H, W) moved by (x, y) and blurred, both as fractions of its height."""
    height, width = mask.shape
    move = np.array([[1, 0, offset[0] * height], [0, 1, offset[1] * height]], np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.warpAffine(mask, move, (width, height)), (0, 0), sigma * height))


def _photograph(img: np.ndarray, contrast: float, config: SynthConfig, rng: Rng) -> np.ndarray:
    if rng.random() < config.fade_share:
        mean = planes(img.mean((1, 2)))
        keep = rng.uniform(min(1.0, config.min_contrast / max(contrast, 1.0)), 1.0)
        img = mean + (img - mean) * np.float32(keep)
    if rng.random() < config.soft_shadow_share:
        img = img * soft_shadow(img.shape[1:], rng)
    rgb = cv2.GaussianBlur(cv2.merge(list(img)), (0, 0), rng.uniform(*config.lens_sigma_px))  # (H, W, 3)
    # Uniform grain: at a few levels of 255 its shape cannot be seen, and it costs a tenth of Gaussian noise.
    grain = np.frombuffer(rng.bytes(rgb.size), np.int8).reshape(rgb.shape)
    scale = rng.uniform(*config.noise_std) / 73.9  # 73.9: standard deviation of a uniform int8
    return np.asarray(cv2.addWeighted(rgb, 1.0, grain.astype(np.float32), scale, 0.0, dtype=cv2.CV_8U))
