"""Make the pictures of the README and the docs.

    text-telescope serve &
    python -m examples.make_figure --out docs/images/lr-bicubic-sr.png
    python -m examples.make_figure --words --out docs/images/synthetic-words.png
    python -m examples.make_figure --pairs training/configs/ten-minutes.yml --out docs/images/training-pairs.png
    python -m examples.make_figure --curve docs/reports/words-by-pairs.csv --out docs/images/words-by-pairs.svg

The first gets the super-resolved crops from a running server, as every client does. It shows the crops named in
SHOWN, including failures. The second shows rendered words above their degraded halves, the third rendered pairs as
a configuration trains on them, the fourth measured gains by the number of training pairs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from text_telescope import TelescopeClient, TelescopeError

from model_store.manifest import PixelSpec
from training.calibration.readers import READER_NAMES
from training.chart import GAIN, LOSS, RULE, SOFT, subplots
from training.config import TrainConfig
from training.config_file import read_config
from training.data.degrade import degrade
from training.data.degrade_config import preset
from training.data.fonts import find_fonts
from training.data.samples import training_samples
from training.data.synth import SynthConfig, render_word
from training.data.words import random_word
from training.errors import TrainingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CROPS = Path(__file__).parent / "crops"
SHOWN = ("harbour.png", "library.png", "platform.png", "coffee.png", "museum.png", "station.png")
# With a failure: of tbsrn:4's pictures, and of bicubic ones, PP-OCRv4 reads SIATION. Of bicubic ones it also reads
# UBRARY, and Tesseract LRRARYV and wes.
NOTES = {"station.png": "one misreads it"}

PANEL, TEXT, FAINT = (246, 246, 246), (60, 60, 60), (120, 120, 120)  # its own ground: reads on any page
LABEL_PX, COLUMN_PX, ROW_PX, GAP_PX, HEAD_PX = 104, 268, 72, 14, 36

Sr = Callable[[np.ndarray], np.ndarray]


def comparison(crops: Sequence[tuple[str, np.ndarray]], sr: Sr) -> Image.Image:
    """LR | bicubic | SR, one row a crop, 964 px wide.

    crops: label and uint8 (H, W, 3) RGB. sr: the same kind of array in, twice as large out. LR is enlarged
    by repeating pixels so that they show; bicubic and SR stand at twice its size, then enlarged alike.
    A second line of a label is drawn fainter.
    """
    width, step = LABEL_PX + 3 * (COLUMN_PX + GAP_PX) + GAP_PX, ROW_PX + GAP_PX
    sheet = Image.new("RGB", (width, HEAD_PX + len(crops) * step), PANEL)
    pen, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(16), ImageFont.load_default(12)
    for column, title in enumerate(("input", "bicubic", "Text Telescope")):
        pen.text((LABEL_PX + GAP_PX + column * (COLUMN_PX + GAP_PX), 9), title, fill=TEXT, font=font)
    for row, (label, lr) in enumerate(crops):
        middle = HEAD_PX + row * step + ROW_PX // 2
        text, _, note = label.partition("\n")
        pen.text((GAP_PX, middle), text, fill=TEXT, font=font, anchor="lm")
        pen.text((GAP_PX, middle + 18), note, fill=FAINT, font=small, anchor="lm")
        for column, view in enumerate(_views(lr, sr)):
            left = LABEL_PX + GAP_PX + column * (COLUMN_PX + GAP_PX)
            sheet.paste(view, (left, middle - view.height // 2))
    return sheet


def _views(lr: np.ndarray, sr: Sr) -> tuple[Image.Image, Image.Image, Image.Image]:
    low = Image.fromarray(lr)
    twice = low.resize((2 * low.width, 2 * low.height), Image.Resampling.BICUBIC)
    smooth = Image.Resampling.BICUBIC
    return _fit(low, Image.Resampling.NEAREST), _fit(twice, smooth), _fit(Image.fromarray(sr(lr)), smooth)


def _fit(img: Image.Image, how: Image.Resampling) -> Image.Image:
    scale = min(COLUMN_PX / img.width, ROW_PX / img.height)
    return img.resize((round(img.width * scale), round(img.height * scale)), how)


def word_sheet(fonts_folder: Path | None, *, rows: int = 4, seed: int = 0) -> Image.Image:
    """Rendered HR words, each above its degraded LR, which is enlarged to the same size."""
    fonts, width, line = find_fonts(fonts_folder), 800, 32
    sheet = Image.new("RGB", (width, rows * (2 * line + 12) + 4), PANEL)
    x, y = 4, 4
    while y < sheet.height - line:
        seed += 1
        text = random_word(np.random.default_rng(seed))
        hr = render_word(text, config=SynthConfig(height_px=(line, line)), fonts=fonts, seed=seed)
        hr = hr[:, : hr.shape[1] // 2 * 2]
        lr = degrade(hr, config=preset("full"), seed=seed)
        size = (hr.shape[1], line)
        if x + size[0] > width - 4:
            x, y = 4, y + 2 * line + 12
            continue
        sheet.paste(Image.fromarray(hr), (x, y))
        sheet.paste(Image.fromarray(lr).resize(size, Image.Resampling.BICUBIC), (x, y + line + 2))
        x += size[0] + 6
    return sheet


def pair_sheet(config: Path, *, rows: int = 9, columns: int = 2, seed: int = 1) -> Image.Image:
    """Rendered pairs on canvases, LR enlarged beside HR, the text's box in red."""
    nothing_stored = ["data.train=[]", "data.low=0", "data.held_out=0", "data.rendered_validation=1"]
    settings = read_config(config, TrainConfig, nothing_stored)
    samples = training_samples(settings.data, PixelSpec(16, 64, 2), seed=seed)
    height, width = (2 * side for side in settings.data.window)
    sheet = Image.new("RGB", (4 + columns * (2 * width + 8), 4 + rows * (height + 4)), PANEL)
    pen = ImageDraw.Draw(sheet)
    for number in range(rows * columns):
        pair = samples.pair(number, epoch=0, placed=True)
        assert pair is not None, "a rendered word has a pair"
        left, top = 4 + number % columns * (2 * width + 8), 4 + number // columns * (height + 4)
        lr = Image.fromarray(pair.lr).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(lr, (left, top))
        sheet.paste(Image.fromarray(pair.hr), (left + width, top))
        x0, y0, x1, y1 = pair.box
        pen.rectangle((left + width + x0, top + y0, left + width + x1 - 1, top + y1 - 1), outline=(220, 40, 40))
    return sheet


def gains_by_pairs(file: Path) -> Figure:
    """Points over the plain crop, with 95 % intervals, by the number of training pairs, for each recogniser.

    file: a CSV with a column for each recogniser, of which each cell holds points and interval.
    """
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure, ((axes,),) = subplots(1, 1, size=(7.2, 3.2))
    for (reader, name), colour in zip(READER_NAMES.items(), (SOFT, LOSS, GAIN), strict=True):
        for way, marker, line in (("named", "o", "-"), ("second", "D", "")):
            own = [row for row in rows if row["way"] == way]
            pairs = [int(row["pairs"]) for row in own]
            points, spread = zip(*(map(float, row[reader].split()) for row in own), strict=True)
            axes.errorbar(pairs, points, spread, color=colour, marker=marker, linestyle=line, capsize=3)
        axes.text(1.2 * pairs[-1], points[-1], f"{name}: {points[-1]:+.1f}", va="center", color=colour)
    axes.axhline(0, color=RULE)
    axes.set_xscale("log")
    axes.set_xlim(5e4, 1e7)
    axes.set_xlabel("training pairs (dots: recogniser named; diamonds: second opinion)")
    axes.set_title("Words of 100 gained over the plain crop", weight="bold")
    return figure


def load_crops(folder: Path, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """(label, uint8 (H, W, 3) RGB) of the named files, labels from labels.tsv with NOTES below."""
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as rows:
        labels = dict(csv.reader(rows, delimiter="\t"))
    return [
        (f"{labels[name]}\n{NOTES.get(name, '')}", np.asarray(Image.open(folder / name).convert("RGB")))
        for name in names
    ]


def super_resolved(telescope: TelescopeClient, crop: np.ndarray) -> np.ndarray:
    return np.asarray(telescope.super_resolve(crop, mode="always"))


def main(argv: list[str] | None = None) -> int:
    """Write the picture; returns the exit code (2 when the server or the fonts cannot be used)."""
    parser = argparse.ArgumentParser(prog="python -m examples.make_figure", description="Pictures for the docs.")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write, or SVG of --curve")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server")
    parser.add_argument("--words", action="store_true", help="rendered words instead of the model's output")
    parser.add_argument("--pairs", type=Path, metavar="CONFIG", help="pairs that a configuration trains on")
    parser.add_argument("--curve", type=Path, metavar="CSV", help="gains by the number of training pairs")
    parser.add_argument("--fonts", type=Path, help="folder of fonts for --words; default: those installed")
    args = parser.parse_args(argv)
    if args.curve:
        gains_by_pairs(args.curve).savefig(args.out, metadata={"Date": None})
        return 0
    try:
        if args.pairs:
            sheet = pair_sheet(args.pairs)
        elif args.words:
            sheet = word_sheet(args.fonts)
        else:
            with TelescopeClient(args.url) as telescope:
                sheet = comparison(load_crops(CROPS, SHOWN), partial(super_resolved, telescope))
    except TelescopeError as exc:
        print(f"no picture from {args.url}: {exc} Start a server with `text-telescope serve`", file=sys.stderr)
        return 2
    except TrainingError as exc:
        print(exc, file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)
    print(f"{args.out}: {sheet.width} x {sheet.height}, {args.out.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
