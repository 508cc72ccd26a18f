"""The lines that the service finds on rendered pages, and the time and memory to find and read them.

    python -m bench reading
    python -m bench reading --threads 2 --no-read

    page of words -> engine.detect -> share of the lines found -> crops -> engine.read
    -> seconds of processor time, of all threads together; peak memory

A line counts as found if outlines of its own height lie over 85 % of its width. Each page is found twice, and the
second time counts: every size of picture is compiled once. Memory is of this whole process, with the page.
"""

from __future__ import annotations

import argparse
import random
import resource
from dataclasses import dataclass
from time import process_time

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.imaging import regions
from app.imaging.outlines import Points
from app.imaging.warp import rectify
from app.ocr.engine import OcrEngine, TextLine
from model_store.pixels import Rgb
from training.record import machine

TEXT = "the invoice of total amount was paid on Monday 17.50 by Miller and Sons to account 4711 in Berlin today"


@dataclass(frozen=True)
class Page:
    """blur: sigma, as a share of the font's size."""

    name: str
    width: int
    height: int
    font_px: int
    columns: int = 1
    blur: float = 0


PAGES = (
    Page("letter, 300 lines", 1654, 2339, 18, 4),
    *(Page("screenshot", 1920, 1080, px, 2) for px in (8, 10, 12)),
    *(Page("screenshot", 3840, 2160, px, 4) for px in (10, 14)),
    *(Page("scan", 3000, 4000, px, 2) for px in (20, 40, 300)),
    *(Page("blurred", 900, 450, px, 1, 0.15) for px in (12, 20, 32)),
    Page("receipt", 400, 3000, 14),
    Page("16 megapixels", 4000, 4000, 24, 6),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default: %(default)s)")
    parser.add_argument("--no-read", action="store_true", help="only find the lines")


def run(args: argparse.Namespace) -> None:
    """Measure and print one row a page."""
    engine = OcrEngine(threads=args.threads)
    print(f"{machine()}\n{engine.version}, {args.threads} threads, {_memory_mib()} MiB when open\n")
    print("| page | font, px | lines | found | find, CPU s | read, CPU s | peak, MiB |")
    print(7 * "|---" + "|")
    for page in PAGES:
        print(_row(page, engine, read=not args.no_read), flush=True)


def _row(page: Page, engine: OcrEngine, *, read: bool) -> str:
    picture, truth = rendered(page)
    engine.detect(picture)
    started = process_time()
    lines = engine.detect(picture)
    found_s, read_s = process_time() - started, "-"
    if read:
        started = process_time()
        engine.read([_crop(picture, line) for line in lines])
        read_s = f"{process_time() - started:.1f}"
    share = np.mean([is_found(box, lines) for box in truth])
    size = f"{page.width} x {page.height}"
    cells = (
        f"{page.name}, {size}",
        page.font_px,
        len(truth),
        f"{share:.0%}",
        f"{found_s:.1f}",
        read_s,
        _memory_mib(),
    )
    return f"| {' | '.join(map(str, cells))} |"


def rendered(page: Page) -> tuple[Rgb, list[Points]]:
    """A page of random words, and the box of each line: left, top and right, bottom, (2, 2)."""
    words = TEXT.split()
    chance = random.Random(page.font_px)
    picture = Image.new("RGB", (page.width, page.height), (250, 250, 250))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(page.font_px)
    margin, gap = 2 * page.font_px, 4 * page.font_px
    column = (page.width - 2 * margin - gap * (page.columns - 1)) / page.columns
    boxes = []
    for left in (margin + index * (column + gap) for index in range(page.columns)):
        for top in np.arange(margin, page.height - margin - 1.4 * page.font_px, 1.6 * page.font_px):
            text = chance.choice(words)
            while draw.textlength(longer := f"{text} {chance.choice(words)}", font=font) <= column:
                text = longer
            draw.text((left, top), text, font=font, fill=(30, 30, 30))
            boxes.append(np.array(draw.textbbox((left, top), text, font=font), np.float64).reshape(2, 2))
    rgb = np.asarray(picture)
    return (
        np.asarray(cv2.GaussianBlur(rgb, (0, 0), page.blur * page.font_px), np.uint8) if page.blur else rgb
    ), boxes


def is_found(box: Points, lines: list[TextLine]) -> bool:
    (left, top), (right, bottom) = box
    covered = np.zeros(int(right - left) + 1, bool)
    for line in lines:
        low, high = line.outline.min(axis=0), line.outline.max(axis=0)
        if top <= (low[1] + high[1]) / 2 <= bottom and high[1] - low[1] < 3 * (bottom - top) + 6:
            covered[max(0, int(low[0] - left)) : max(0, int(high[0] - left)) + 1] = True
    return bool(covered.mean() > 0.85)


def _crop(picture: Rgb, line: TextLine) -> Rgb:
    place = regions.locate(line.outline, page=picture.shape[:2], units="pixels", min_side_px=2)
    return rectify(picture, place)


def _memory_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux
