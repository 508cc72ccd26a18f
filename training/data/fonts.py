"""Fonts for rendered words: installed ones, a folder's, or Pillow's own as the last resort.

    fonts = find_fonts()                      # installed ones
    fonts = find_fonts(Path("my_fonts"))      # only that folder's

A `Font` is a path, and a face within a collection (.ttc); FreeType objects are cached by size. A word is drawn
only in fonts that have all its glyphs. Images therefore depend on the fonts present: to repeat them elsewhere,
keep the folder of fonts with the seed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import count, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ImageFont

from training.errors import DataError

_SUFFIXES = {".ttf", ".otf", ".ttc"}
# Fonts that map letters to symbols look complete to a glyph test, so they are recognised by name.
_NOT_TEXT = ("symbol", "dingbat", "emoji", "icon", "awesome", "lastresort", "stixsiz", "stixnonuni", "math",
             "cmsy", "cmex", "cmmi", "d050000l", "standardsymbols", "music", "braille")  # fmt: skip
# Characters that show whether a font has a script, by the first word of a character's Unicode name.
_SAMPLES = {
    "LATIN": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "DIGIT": "0123456789",
    "CYRILLIC": "Жяю",
    "GREEK": "Ωβψ",
    "CJK": "一国",
    "HIRAGANA": "あを",
    "KATAKANA": "アー",
    "HANGUL": "가한",
}
_EAST_ASIAN = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
_BASIC = ("LATIN", "DIGIT")  # both needed for Latin, as symbol fonts may have either
_TEST_EM = 24  # pixels, for tests of glyphs
_STYLES = re.compile(r"[-_ ].*|(Condensed|Narrow|Display|Bold|Oblique|Italic).*")  # after a family's name


class Font(NamedTuple):
    """A font file, and the number of a collection's face; path None is Pillow's bundled Aileron (CC0)."""

    path: str | None
    face: int = 0

    @property
    def name(self) -> str:
        if not self.path:
            return "Aileron (bundled with Pillow)"
        return Path(self.path).stem + (f" {self.face}" if self.face else "")

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The font at an em size in pixels; DataError when FreeType cannot read the file."""
        return _load(self, size)

    def has(self, text: str) -> bool:
        """Whether every character of the text has a glyph that is not the font's empty box."""
        return all(char.isspace() or _has_glyph(self, char) for char in text)


BUNDLED = Font(None)


def find_fonts(folder: Path | None = None) -> tuple[Font, ...]:
    """All text fonts below a folder, or those installed here, ordered by path; never empty.

    A text font has Latin letters and digits, or Cyrillic, Greek, Chinese, Japanese or Korean characters.

    Without a folder: the system's, matplotlib's, and fonts of Python packages with the entry point `fonts_ttf`
    (such as font-roboto). DataError when a named folder is missing or holds no usable font.
    """
    if folder is not None and not folder.is_dir():
        raise DataError(f"no font folder {folder}")
    roots = _installed_roots() if folder is None else [folder]
    paths = sorted({str(path) for root in roots for path in _font_files(root)})
    fonts = tuple(font for path in paths for font in _faces(path) if _is_text(font))
    if folder is not None and not fonts:
        raise DataError(f"no .ttf or .otf text font, and no .ttc, under {folder}")
    return fonts or (BUNDLED,)


def choose_font(text: str, fonts: Sequence[Font], rng: np.random.Generator) -> Font:
    """A random font among those with every glyph of the text; DataError when none has.

    A family is drawn, weighted by the square root of its number of fonts, then one of its fonts: thirty fonts of
    one design should not outweigh five designs.
    """
    order = np.random.default_rng(rng.integers(2**32) if len(fonts) > 1 else 0)  # one draw, however many fail
    families, weights = _families(tuple(fonts), frozenset(map(_script, text)))
    # Exponential times at these rates give a weighted random order; `choice` would take 70 us.
    for family in np.argsort(order.exponential(size=len(families)) / weights):
        members = families[family]
        for member in order.permutation(len(members)):
            if members[member].has(text):
                return members[member]
    raise DataError(f"none of {len(fonts)} fonts has every character of {text!r}; add a font that has")


@lru_cache(maxsize=256)
def _families(fonts: tuple[Font, ...], scripts: frozenset[str]) -> tuple[list[list[Font]], np.ndarray]:
    """The fonts that have these scripts, by family, and each family's weight."""
    sample = "".join(_SAMPLES.get(script, "") for script in scripts)
    having = [font for font in fonts if font.has(sample)]
    if not scripts & _EAST_ASIAN:  # Latin letters of Chinese fonts are narrow and thin
        having = [font for font in having if not font.has(_SAMPLES["CJK"])] or having
    families: dict[str, list[Font]] = {}
    for font in having:
        families.setdefault(_STYLES.sub("", font.name), []).append(font)
    return list(families.values()), np.sqrt([len(family) for family in families.values()])


@lru_cache(maxsize=20_000)
def _script(char: str) -> str:
    script = unicodedata.name(char, "").partition(" ")[0]
    return script if script in _SAMPLES else ""


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


def _faces(path: str) -> Iterator[Font]:
    fonts = (Font(path, face) for face in count()) if path.lower().endswith(".ttc") else iter([Font(path)])
    return takewhile(_is_readable, fonts)  # one broken file among the system's fonts should not stop a run


def _is_readable(font: Font) -> bool:
    try:
        font.at(_TEST_EM)
    except DataError:
        return False
    return True


def _is_text(font: Font) -> bool:
    if any(word in font.name.lower() for word in _NOT_TEXT):
        return False
    latin = _SAMPLES["LATIN"] + _SAMPLES["DIGIT"]
    return font.has(latin) or any(font.has(sample) for script, sample in _SAMPLES.items() if script not in _BASIC)


@lru_cache(maxsize=2048)
def _load(font: Font, size: int) -> ImageFont.FreeTypeFont:
    if font.path is None:
        bundled = ImageFont.load_default(size)
        assert isinstance(bundled, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
        return bundled
    try:
        return ImageFont.truetype(font.path, size, index=font.face, layout_engine=ImageFont.Layout.BASIC)
    except OSError as exc:
        raise DataError(f"cannot read font {font.path}: {exc}") from exc


@lru_cache(maxsize=200_000)
def _has_glyph(font: Font, char: str) -> bool:
    mask = font.at(_TEST_EM).getmask(char)
    return mask.getbbox() is not None and (mask.size, bytes(mask)) != _missing_glyph(font)


@lru_cache(maxsize=2048)
def _missing_glyph(font: Font) -> tuple[tuple[int, int], bytes]:
    mask = font.at(_TEST_EM).getmask("\U0010fffd")  # a private-use code point no text font fills
    return mask.size, bytes(mask)
