"""Draws the pages of each kind: what stands where, in which font, size and colour.

light screen     a document or program in 8 to 14 px (Chinese: 10 to 14), grey or sub-pixel letters, on white
dark screen      the same on a dark ground
subtitle         one or two lines over a film's picture, as JPEG
scan             printed text at 75 to 150 dpi, up to two degrees askew, as JPEG
receipt          thermal print on a narrow strip, faded
table            ruled rows, half of them on a screen, half scanned
notice           a photograph of a notice, in perspective, out of focus or shaken
blurred notice   the same with more blur
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.fonts import Font, choose_font
from training.data.grounds import page_colour, scenery
from training.pages import capture
from training.pages.capture import Captured, Rng
from training.pages.sheet import Colour, Part, Sheet, Style
from training.pages.texts import Texts, filled, read_texts

SANS = r"(DejaVuSans|LiberationSans|Lato|NotoSans|FreeSans)(-Regular|-?Bold)?"
SERIF = r"(DejaVuSerif|LiberationSerif|NotoSerif|FreeSerif)(-Regular|-?Bold)?"
MONO = r"(DejaVuSansMono|LiberationMono)(-Regular|-Bold)?|FreeMonoBold"
CJK_SANS, CJK_SERIF = r"NotoSansCJK.* 2|wqy-.*", r"NotoSerifCJK.* 2|uming"
FONTS = {  # patterns of names of fonts by use and script; any that has the text, if none is installed
    "screen": {"latin": f"{SANS}|LiberationMono-Regular", "chinese": CJK_SANS},
    "print": {"latin": f"{SANS}|{SERIF}", "chinese": f"{CJK_SANS}|{CJK_SERIF}|ukai"},
    "thermal": {"latin": MONO, "chinese": CJK_SANS},
}
LEAST_EM = {"latin": 8, "chinese": 10}  # of screens, pixels; strokes of smaller Chinese characters fall together
# Standard deviation over the em; `bench ocr` has 0 to 0.11 of the crop's height, which is about 1.3 em.
BLUR, STRONG_BLUR = (0.03, 0.13), (0.08, 0.15)


@dataclass(frozen=True)
class Maker:
    """The fonts, texts and random numbers of one page."""

    fonts: Sequence[Font]
    script: str
    rng: Rng

    @property
    def texts(self) -> Texts:
        return read_texts()[self.script]

    def some(self, pool: Sequence[str], count: int) -> list[str]:
        """Different texts of the pool, with their digits filled in."""
        chosen = self.rng.permutation(len(pool))[:count]
        return [filled(pool[i], self.rng) for i in chosen]

    def font(self, use: str) -> Font:
        wanted = [font for font in self.fonts if re.fullmatch(FONTS[use][self.script], font.name)]
        sample = "图书馆2048" if self.script == "chinese" else "Harbour 2048"
        return choose_font(sample, wanted or self.fonts, self.rng)

    def words(self, sentences: int) -> list[str]:
        """Of a paragraph; a Chinese line may break after any character, but not before a closing mark."""
        text = self.texts.joint.join(self.some(self.texts.sentences, sentences))
        if self.script == "latin":
            return text.split()
        return re.findall(r"[0-9A-Za-z.:%-]+[，。；、：？！）]*|.[，。；、：？！）]*", text)


Made = tuple[Captured, set[str]]  # and the names of the fonts used


def _screen(own: Maker, index: int, *, dark: bool) -> Made:
    """A bar of menus, a column of labels, and a document beside it."""
    rng, least = own.rng, LEAST_EM[own.script]
    ground, ink, accent = _window_colours(rng, dark=dark)
    zoom = 2 if index % 2 else 1  # 1: grey letters, hinted by FreeType; 2: sub-pixels
    sheet = Sheet((int(rng.integers(560, 800)), int(rng.integers(380, 520))), ground=ground, zoom=zoom)
    font = own.font("screen")
    bar = Style(font, int(rng.integers(least, 14)), ink)
    x, parts = 12.0, []
    for label in own.some(own.texts.labels[:6], 5):
        parts.append(Part(label, x))
        x += sheet.length(label, bar) + 2 * bar.em
    sheet.row(parts, 8, bar)
    sheet.rule((0, 30), (sheet.width, 30), accent)
    side = Style(font, int(rng.integers(least, 14)), ink)
    y = 42.0
    for label in own.some(own.texts.labels[6:], 12):
        y = sheet.row([Part(label, 14)], y, side) + side.em * 0.8
    left = 14 + 14 * side.em
    head = Style(font, 14, ink)
    y = sheet.row([Part(own.some(own.texts.labels, 1)[0], left)], 42, head) + 10
    while y < sheet.height - 30:
        body = Style(font, int(rng.integers(least, 15)), accent if rng.random() < 0.15 else ink)
        y = 8 + sheet.paragraph(
            own.words(3), x=left, y=y, width=sheet.width - left - 16, style=body, joint=own.texts.joint, lead=1.6
        )
    return capture.screenshot(sheet, rng), sheet.fonts


def _window_colours(rng: Rng, *, dark: bool) -> tuple[Colour, Colour, Colour]:
    """Of the ground, the text and the links."""
    shade = int(rng.integers(16, 50) if dark else rng.integers(240, 256))
    text = int(rng.integers(185, 245) if dark else rng.integers(0, 90))
    return (shade, shade, shade), (text, text, text), (110, 170, 250) if dark else (20, 80, 190)


def _subtitle(own: Maker, index: int) -> Made:
    rng = own.rng
    width, height = [(640, 360), (854, 480), (960, 540)][index % 3]
    ground = scenery((2 * height, 2 * width), rng).transpose(1, 2, 0)
    sheet = Sheet((width, height), ground=np.rint(ground).astype(np.uint8), zoom=2)
    em = height * rng.uniform(0.04, 0.065)
    ink = (250, 250, 250) if rng.random() < 0.7 else (250, 225, 70)
    style = Style(own.font("screen"), em, ink, rim=em * rng.uniform(0.05, 0.1))
    spoken = own.some(own.texts.spoken, 4)
    y = height * 0.06
    for text in spoken[:2]:  # such as a second language, or a sign's translation, at the top
        y = sheet.row([Part(text, width / 2, "m")], y, style) + em * 0.3
    y = height - 3.0 * em
    for text in spoken[2:]:
        y = sheet.row([Part(text, width / 2, "m")], y, style) + em * 0.15
    return capture.frame(sheet, em, rng), sheet.fonts


def _scan(own: Maker, index: int) -> Made:
    rng = own.rng
    dpi = rng.uniform(75, 150)
    sheet = Sheet((round(4.6 * dpi), round(5.6 * dpi)), ground=(255, 255, 255), zoom=2)
    em, margin = rng.uniform(9, 12) / 72 * dpi, 0.45 * dpi
    font = own.font("print")
    y = sheet.row([Part(own.some(own.texts.labels, 1)[0], margin)], margin, Style(font, 1.4 * em, (0, 0, 0)))
    style, width = Style(font, em, (0, 0, 0)), sheet.width - 2 * margin
    while y < sheet.height - margin - 2 * em:
        y = 0.8 * em + sheet.paragraph(
            own.words(3), x=margin, y=y + em, width=width, style=style, joint=own.texts.joint, lead=1.45
        )
    return capture.scanned(sheet, em, rng), sheet.fonts


def _receipt(own: Maker, index: int) -> Made:
    rng, texts = own.rng, own.texts
    em = rng.uniform(11, 16)
    font, width = own.font("thermal"), round(22 * em)
    sheet = Sheet((width, round(37 * em)), ground=(246, 245, 241), zoom=2)
    style, left, right = Style(font, em, (70, 70, 78)), 1.2 * em, width - 1.2 * em
    y = em
    for i, text in enumerate(texts.shops[int(rng.integers(len(texts.shops)))]):
        big = replace(style, em=1.25 * em) if i == 0 else style
        y = sheet.row([Part(filled(text, rng), width / 2, "m")], y, big) + 0.2 * em
    y = 0.5 * em + sheet.row(
        [Part(filled("1#.0#.2026", rng), left), Part(filled("1#:##", rng), right, "r")], y, style
    )
    prices = []
    for item in own.some(texts.goods, int(rng.integers(9, 14))):
        prices.append(int(rng.integers(49, 1999)))
        y = 0.25 * em + sheet.row([Part(item, left), Part(_money(prices[-1]), right, "r")], y, style)
    sheet.rule((left, y + 0.3 * em), (right, y + 0.3 * em), style.ink)
    total, cash = sum(prices), 5000 * (sum(prices) // 5000 + 1)
    amounts = (round(total / 1.2), total - round(total / 1.2), total, cash, cash - total)
    y += em
    for label, amount in zip(texts.total, amounts, strict=True):
        y = 0.25 * em + sheet.row([Part(label, left), Part(_money(amount), right, "r")], y, style)
    y += 0.6 * em
    for text in texts.closing:
        y = 0.2 * em + sheet.row([Part(filled(text, rng), width / 2, "m")], y, replace(style, em=0.85 * em))
    return capture.faded_and_photographed(sheet, em, rng, tilt=2.0), sheet.fonts


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _table(own: Maker, index: int) -> Made:
    """Ruled rows of name, code, number and price, on a screen or scanned."""
    rng, on_screen = own.rng, index % 2 == 0
    em = float(rng.integers(10, 14)) if on_screen else rng.uniform(11, 20)
    font, zoom = own.font("screen" if on_screen else "print"), 2 if not on_screen or index % 4 else 1
    rows, pitch = int(rng.integers(12, 18)), 2.0 * em
    sheet = Sheet((round(34 * em), round((rows + 3) * pitch)), ground=(255, 255, 255), zoom=zoom)
    style, left, right = Style(font, em, (20, 20, 24)), 1.5 * em, sheet.width - 1.5 * em
    columns = (left + 0.5 * em, left + 14 * em, left + 23 * em, right - 0.5 * em)
    sheet.block((left, pitch, right, 2 * pitch), (222, 230, 240))
    _cells(sheet, own.texts.columns, columns, pitch + 0.45 * em, style)
    for number, item in enumerate(own.some(own.texts.goods, rows), 2):
        cells = (item, filled("##-####", rng), str(rng.integers(1, 400)), _money(int(rng.integers(50, 90000))))
        _cells(sheet, cells, columns, number * pitch + 0.45 * em, style)
        sheet.rule((left, number * pitch), (right, number * pitch), (150, 150, 160))
    for x in (left, left + 13.3 * em, left + 20 * em, left + 25 * em, right):
        sheet.rule((x, pitch), (x, (rows + 2) * pitch), (150, 150, 160))
    return capture.screenshot(sheet, rng) if on_screen else capture.scanned(sheet, em, rng), sheet.fonts


def _cells(sheet: Sheet, texts: Sequence[str], columns: Sequence[float], y: float, style: Style) -> None:
    item, code, stock, price = (Part(text, x) for text, x in zip(texts, columns, strict=True))
    sheet.row([item, code, replace(stock, anchor="r"), replace(price, anchor="r")], y, style)


def _notice(own: Maker, index: int, *, blur: tuple[float, float]) -> Made:
    rng = own.rng
    head, *rest = (filled(text, rng) for text in own.texts.notices[index % len(own.texts.notices)])
    em = rng.uniform(13, 26)
    ground = [int(part) for part in np.rint(page_colour(rng) * 0.85 + 25)]
    ink = (25, 25, 40) if sum(ground) > 3 * 128 else (240, 240, 235)
    font = own.font("print")
    style = Style(font, em, ink)
    width = 24 * em
    sheet = Sheet(
        (round(width), round((3.2 + 2.0 * len(rest)) * em)), ground=(ground[0], ground[1], ground[2]), zoom=2
    )
    y = 0.6 * em + sheet.row([Part(head, width / 2, "m")], em, replace(style, em=1.6 * em))
    for text in rest:
        y = 0.7 * em + sheet.row([Part(text, 1.5 * em)], y, replace(style, em=em * rng.uniform(0.75, 1.0)))
    return capture.photographed_on_a_wall(sheet, em, rng, blur=blur), sheet.fonts


Make = Callable[[Maker, int], Made]
KINDS: Mapping[str, tuple[Make, int]] = {  # with the number of pages in each script
    "light screen": (lambda own, index: _screen(own, index, dark=False), 4),
    "dark screen": (lambda own, index: _screen(own, index, dark=True), 4),
    "subtitle": (_subtitle, 6),
    "scan": (_scan, 4),
    "receipt": (_receipt, 4),
    "table": (_table, 4),
    "notice": (lambda own, index: _notice(own, index, blur=BLUR), 6),
    "blurred notice": (lambda own, index: _notice(own, index, blur=STRONG_BLUR), 8),
}
