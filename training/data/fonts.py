"""Fonts for rendered words: found on this machine, in a folder, or Pillow's own as the last resort.

    fonts = find_fonts()                      # installed ones
    fonts = find_fonts(Path("my_fonts"))      # only that folder's

A `Font` is a path; FreeType objects are cached by size. A font without a glyph of a word is left out of
the choice for that word. Pictures therefore depend on the fonts present: to repeat them elsewhere, keep
the folder of fonts beside the seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ImageFont

from training.errors import DataError

_SUFFIXES = {".ttf", ".otf"}
# Fonts that map letters to symbols look complete to a glyph test, so names have to tell them apart.
_NOT_TEXT = ("symbol", "dingbat", "emoji", "icon", "awesome", "lastresort", "stixsiz", "stixnonuni", "math",
             "cmsy", "cmex", "cmmi", "d050000l", "standardsymbols", "music", "braille")  # fmt: skip
_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Font:
    """A font file; path None is the Aileron (CC0) that Pillow carries."""

    path: str | None

    @property
    def name(self) -> str:
        return Path(self.path).stem if self.path else "Aileron (bundled with Pillow)"

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The font at an em size in pixels; DataError when FreeType cannot read the file."""
        return _load(self.path, size)

    def has(self, text: str) -> bool:
        """Whether every character of the text has a glyph that is not the font's empty box."""
        return all(char.isspace() or _has_glyph(self.path, char) for char in text)


BUNDLED = Font(None)


def find_fonts(folder: Path | None = None) -> tuple[Font, ...]:
    """All text fonts below a folder, or those installed here, ordered by path; never empty.

    Without a folder: the system's, matplotlib's, and those of Python packages that announce `fonts_ttf`
    (such as font-roboto). DataError when a named folder is missing or holds no usable font.
    """
    if folder is not None and not folder.is_dir():
        raise DataError(f"no font folder {folder}")
    roots = _installed_roots() if folder is None else [folder]
    paths = sorted({str(path) for root in roots for path in _font_files(root)})
    fonts = tuple(font for font in map(Font, paths) if _is_text(font))
    if folder is not None and not fonts:
        raise DataError(f"no .ttf or .otf text font under {folder}")
    return fonts or (BUNDLED,)


def choose_font(text: str, fonts: Sequence[Font], rng: np.random.Generator) -> Font:
    """A random font among those with every glyph of the text; DataError when none has."""
    start = int(rng.integers(len(fonts))) if fonts else 0
    for step in range(len(fonts)):  # a walk from a random place: asking every font each time took 2 ms
        font = fonts[(start + step) % len(fonts)]
        if font.has(text):
            return font
    raise DataError(f"none of {len(fonts)} fonts has every character of {text!r}; add a font that has")


def _installed_roots() -> list[Path]:
    home = Path.home()
    roots = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts",
             home / ".local/share/fonts", Path("/System/Library/Fonts"), Path("/Library/Fonts"),
             Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]  # fmt: skip
    packages = {point.module.partition(".")[0] for point in entry_points(group="fonts_ttf")} | {"matplotlib"}
    for package in sorted(packages):
        spec = find_spec(package)  # found, not imported: reading its fonts needs none of its code
        roots.extend(Path(place) for place in (spec.submodule_search_locations if spec else None) or ())
    return [root for root in roots if root.is_dir()]


def _font_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES]


def _is_text(font: Font) -> bool:
    if any(word in font.name.lower() for word in _NOT_TEXT):
        return False
    try:
        return font.has(_ALPHANUMERIC)
    except DataError:
        return False  # one broken file among the system's fonts should not stop a run


@lru_cache(maxsize=1024)
def _load(path: str | None, size: int) -> ImageFont.FreeTypeFont:
    if path is None:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
        return font
    try:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as exc:
        raise DataError(f"cannot read font {path}: {exc}") from exc


@lru_cache(maxsize=100_000)
def _has_glyph(path: str | None, char: str) -> bool:
    font = _load(path, 24)
    mask = font.getmask(char)
    missing = font.getmask("\U0010fffd")  # a private-use code point no text font fills
    return mask.getbbox() is not None and (mask.size, bytes(mask)) != (missing.size, bytes(missing))
