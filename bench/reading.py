"""The lines that the service finds on rendered pages, and the time and memory to find and to read them.

Seconds are of the processor, all threads together. Memory is the peak of this process over all pages so far; the
pages that are also read come last. A line is found if outlines of its own height lie over 85 % of its width.
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
from app.imaging.outlines import Points
from app.imaging.warp import rectify
from app.ocr.engine import OcrEngine, TextLine
from bench.harness.options import Options
from bench.harness.report import Report, Table
from model_store.pixels import Rgb

OPTIONS: Options = {}
THREADS = 2
TEXT = "the invoice of total amount was paid on Monday 17.50 by Miller and Sons to account 4711 in Berlin"
COLUMNS = ("page", "font, px", "lines", "found", "find, CPU s", "read, CPU s", "peak, MiB")


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
    opened, rows = memory_mib(), []
    peaks = {False: opened}  # after the pages that are only found, and True: after all
    for page in tqdm(PAGES[-1:] if args.quick else PAGES, unit="page", disable=None):
        picture, truth = rendered(page)
        engine.detect(picture)  # compiles the network for this size
        started = process_time()
        lines = engine.detect(picture)
        seconds, found = process_time() - started, 100 * np.mean([is_found(box, lines) for box in truth])
        row = [f"{page.name}, {page.width} x {page.height}", page.font_px, len(truth), f"{found:.0f} %"]
        places = (regions.locate(x.outline, page=picture.shape[:2], units="pixels", min_side_px=2) for x in lines)
        crops, started = [rectify(picture, place) for place in places if page.read], process_time()
        engine.read(crops)
        read = f"{process_time() - started:.1f}" if page.read else ""
        peaks[page.read] = memory_mib()
        rows.append([*map(str, row), f"{seconds:.1f}", read, str(peaks[page.read])])
    peak = {"opened": opened, "peak-finding": peaks[False], "peak-reading": peaks[True]}
    facts = {name: f"{mib} MiB" for name, mib in peak.items()} | {"engine": f"{engine.version}, {THREADS} threads"}
    return Report({"pages": rows}, {"pages": Table("Finding and reading lines", COLUMNS, rows)}, facts)


def rendered(page: Page) -> tuple[Rgb, list[Points]]:
    """A page of random words, and the box of each line: left, top and right, bottom, (2, 2)."""
    chance, px, words = random.Random(page.font_px), page.font_px, TEXT.split()
    picture = Image.new("RGB", (page.width, page.height), (250, 250, 250))
    draw, font, boxes = ImageDraw.Draw(picture), ImageFont.load_default(px), []
    column = (page.width - 4 * px * page.columns) / page.columns  # with margins of 2 px and gaps of 4
    for left in (2 * px + index * (column + 4 * px) for index in range(page.columns)):
        for top in np.arange(2 * px, page.height - 3.4 * px, 1.6 * px):
            text = chance.choice(words)
            while draw.textlength(longer := f"{text} {chance.choice(words)}", font=font) <= column:
                text = longer
            draw.text((left, top), text, font=font, fill=(30, 30, 30))
            boxes.append(np.array(draw.textbbox((left, top), text, font=font), np.float64).reshape(2, 2))
    rgb = np.asarray(picture)
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), page.blur * px), np.uint8) if page.blur else rgb, boxes


def is_found(box: Points, lines: list[TextLine]) -> bool:
    (left, top), (right, bottom) = box
    covered = np.zeros(int(right - left) + 1, bool)
    for line in lines:
        low, high = line.outline.min(axis=0), line.outline.max(axis=0)
        if top <= (low[1] + high[1]) / 2 <= bottom and high[1] - low[1] < 3 * (bottom - top) + 6:
            covered[max(0, int(low[0] - left)) : max(0, int(high[0] - left)) + 1] = True
    return bool(covered.mean() > 0.85)


def memory_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux
