"""Pages that were read, as a PDF with their pictures and invisible text over them, to search, mark and copy.

The text needs a font, which no viewer draws. It is made here, of empty letters: so it holds every letter of every
script, and takes some kilobytes where a font for Chinese takes megabytes.
"""

from collections.abc import Iterator
from io import BytesIO
from math import dist
from pathlib import Path
from tempfile import TemporaryDirectory

from app.bulk.forms import Line, ReadPage
from app.errors import StartupError
from app.imaging.decode import decode
from app.imaging.encode import encode
from model_store.optional import optional

DPI = 200  # of a page's picture; it sets the size of the paper alone
EM = 1000  # units of the font in a letter's height
ADVANCE = EM // 2  # of every letter; each line is stretched to its width
DESCENT = 0.2  # of a line's height, below its baseline

with optional("--format pdf", extra="pdf", error=StartupError):
    from fontTools.fontBuilder import FontBuilder
    from fontTools.ttLib.tables._g_l_y_f import Glyph
    from fpdf import FPDF
    from fpdf.enums import TextMode


def pdf(pages: Iterator[ReadPage], several: bool) -> Iterator[bytes]:
    """One document, when the last page has been read."""
    document = FPDF(unit="pt")
    document.set_auto_page_break(False)
    document.text_mode = TextMode.INVISIBLE
    with TemporaryDirectory() as folder:
        for number, page in enumerate(pages):
            width, height = page.size
            scale = 72 / DPI
            document.add_page(format=(width * scale, height * scale))
            document.image(_picture(page), 0, 0, width * scale, height * scale)
            lines = list(page.lines())
            font, path = f"letters{number}", Path(folder, f"{number}.ttf")
            path.write_bytes(_empty_font({letter for line in lines for letter in line.text} | {" "}))
            document.add_font(font, fname=path)
            for line in lines:
                _write(document, line, font, scale)
        yield bytes(document.output())


def _write(document: FPDF, line: Line, font: str, scale: float) -> None:
    top_left, top_right, _, bottom_left = ((x * scale, y * scale) for x, y in line.corners)
    height = dist(top_left, bottom_left)
    document.set_font(font, size=height)
    document.set_stretching(100 * dist(top_left, top_right) / (len(line.text) * height * ADVANCE / EM))
    x, y = (low + (high - low) * DESCENT for low, high in zip(bottom_left, top_left, strict=True))
    with document.rotation(line.angle, x, y):
        document.text(x, y, line.text)


def _picture(page: ReadPage) -> BytesIO:
    """Upright, and compressed as it came."""
    return BytesIO(encode(decode(page.data), "jpeg" if page.data.startswith(b"\xff\xd8") else "png"))


def _empty_font(letters: set[str]) -> bytes:
    names = {ord(letter): f"u{ord(letter):04X}" for letter in sorted(letters)}
    glyphs = [".notdef", *names.values()]
    font = FontBuilder(EM, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap(names)
    font.setupGlyf({name: Glyph() for name in glyphs})
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (ADVANCE, 0)))
    font.setupHorizontalHeader(ascent=int(EM * (1 - DESCENT)), descent=-int(EM * DESCENT))
    font.setupNameTable({"familyName": "Empty letters", "styleName": "Regular", "psName": "EmptyLetters"})
    font.setupOS2()
    font.setupPost()
    stream = BytesIO()
    font.save(stream)
    return stream.getvalue()
