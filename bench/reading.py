"""The lines that the service finds on rendered pages, and the time and memory to find and to read them.

Seconds are of the processor, all threads together. Memory is the peak of this process over all pages so far; the
pages that are also read come last.
"""

import argparse
import random
import resource
from time import process_time
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from app.imaging import regions
from app.imaging.warp import rectify
from app.ocr.engine import OcrEngine
from bench.harness.options import Options
from bench.harness.report import Report, Table
from model_store.pixels import Rgb

OPTIONS: Options = {}
THREADS = 2
TEXT = "the invoice of total amount was paid on Monday 17.50 by Miller and Sons to account 4711 in Berlin"
COLUMNS = ("page", "font, px", "lines", "lines found", "find, CPU s", "read, CPU s", "peak, MiB")


class Page(NamedTuple):
    name: str
    width: int
    height: int
    font_px: int
    columns: int = 1
    blur: float = 0  # sigma, as a share of the font's size
    read: bool = False


FOUND = [Page("scan", 3000, 4000, 20, 2), Page("scan", 3000, 4000, 300, 2), Page("receipt", 400, 3000, 14)]
BLURRED = [Page("blurred by 0.15 of the font's size", 900, 450, px, 1, 0.15, px == 32) for px in (12, 20, 32)]
SCREENS = [Page("screenshot", 1920, 1080, 8, 2, read=True), Page("screenshot", 3840, 2160, 10, 4, read=True)]
LARGE, LETTER = Page("16 megapixels", 4000, 4000, 24, 6), Page("letter", 1654, 2339, 18, 4, read=True)
PAGES = sorted([*FOUND, LARGE, LETTER, *SCREENS, *BLURRED], key=lambda page: page.read)


def measure(args: argparse.Namespace) -> Report:
    engine = OcrEngine(threads=THREADS)
    rows = []
    for page in tqdm(PAGES[-1:] if args.quick else PAGES, unit="page", disable=None):
        picture, drawn = rendered(page)
        engine.detect(picture)  # compiles the network for this size
        started = process_time()
        lines = engine.detect(picture)
        seconds = process_time() - started
        row = [f"{page.name}, {page.width} x {page.height}", page.font_px, drawn, len(lines)]
        places = (regions.locate(x.outline, page=picture.shape[:2], units="pixels", min_side_px=2) for x in lines)
        crops, started = [rectify(picture, place) for place in places if page.read], process_time()
        engine.read(crops)
        read = f"{process_time() - started:.1f}" if page.read else ""
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux
        rows.append([*map(str, row), f"{seconds:.1f}", read, str(peak_mib)])
    title = f"Finding and reading lines, {engine.version}, {THREADS} threads"
    return Report({"pages": rows}, {"pages": Table(title, COLUMNS, rows)})


def rendered(page: Page) -> tuple[Rgb, int]:
    """A page of random words, and the number of its lines."""
    chance, px, words = random.Random(page.font_px), page.font_px, TEXT.split()
    picture = Image.new("RGB", (page.width, page.height), (250, 250, 250))
    draw, font, lines = ImageDraw.Draw(picture), ImageFont.load_default(px), 0
    column = (page.width - 4 * px * page.columns) / page.columns  # with margins of 2 px and gaps of 4
    for left in (2 * px + index * (column + 4 * px) for index in range(page.columns)):
        for top in np.arange(2 * px, page.height - 3.4 * px, 1.6 * px):
            text = chance.choice(words)
            while draw.textlength(longer := f"{text} {chance.choice(words)}", font=font) <= column:
                text = longer
            draw.text((left, top), text, font=font, fill=(30, 30, 30))
            lines += 1
    rgb = np.asarray(picture)
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), page.blur * px), np.uint8) if page.blur else rgb, lines
