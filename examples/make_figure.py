"""Make the pictures of the README and the docs.

    python -m app serve &
    python -m examples.make_figure --out docs/images/lr-bicubic-sr.png
    python -m examples.make_figure --words --out docs/images/synthetic-words.png

The first asks a running server for the super-resolved crops, so it shows what a client gets. It takes the
crops named in SHOWN, the failing one last. The second shows rendered words above their degraded halves.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.degrade import degrade, preset
from training.data.fonts import find_fonts
from training.data.synth import SynthConfig, render_word
from training.data.words import random_word
from training.errors import TrainingError

CROPS = Path(__file__).parent / "crops"
SHOWN = ("harbour.png", "pharmacy.png", "platform.png", "coffee.png", "museum.png")

# A mid-light and a mid-dark grey both keep contrast with this panel, on white and on dark pages alike.
PANEL, TEXT = (246, 246, 246), (60, 60, 60)
COLUMN_PX, ROW_PX, GAP_PX, HEAD_PX = 300, 72, 16, 34

Sr = Callable[[np.ndarray], np.ndarray]


def comparison(crops: Sequence[tuple[str, np.ndarray]], sr: Sr) -> Image.Image:
    """LR | bicubic | SR, one row a crop, at most 1,000 px wide.

    crops: label and uint8 (H, W, 3) RGB. sr: the same kind of array in, twice as large out. LR is enlarged
    by whole pixels' repetition so that they show; bicubic and SR stand at twice the size, enlarged alike.
    """
    width, height = 3 * COLUMN_PX + 4 * GAP_PX, HEAD_PX + len(crops) * (ROW_PX + GAP_PX)
    sheet = Image.new("RGB", (width, height), PANEL)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(("input", "bicubic", "Text Telescope")):
        pen.text((GAP_PX + column * (COLUMN_PX + GAP_PX), 8), title, fill=TEXT, font=font)
    for row, (_, lr) in enumerate(crops):
        low = Image.fromarray(lr)
        views = (
            _fit(low, Image.Resampling.NEAREST),
            _fit(low.resize((2 * low.width, 2 * low.height), Image.Resampling.BICUBIC), Image.Resampling.BICUBIC),
            _fit(Image.fromarray(sr(lr)), Image.Resampling.BICUBIC),
        )
        for column, view in enumerate(views):
            sheet.paste(view, (GAP_PX + column * (COLUMN_PX + GAP_PX), HEAD_PX + row * (ROW_PX + GAP_PX)))
    return sheet


def _fit(img: Image.Image, how: Image.Resampling) -> Image.Image:
    scale = min(COLUMN_PX / img.width, ROW_PX / img.height)
    return img.resize((round(img.width * scale), round(img.height * scale)), how)


def word_sheet(fonts_folder: Path | None, *, rows: int = 4, seed: int = 0) -> Image.Image:
    """Rendered HR words, each above what `degrade` makes of it, enlarged to the same size."""
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


def server(url: str) -> Sr:
    """A function that posts a crop to /v1/super-resolve and decodes the PNG it gets back."""
    client = httpx.Client(base_url=url, timeout=60.0)

    def sr(lr: np.ndarray) -> np.ndarray:
        png = io.BytesIO()
        Image.fromarray(lr).save(png, "PNG")
        answer = client.post("/v1/super-resolve", files={"image": ("crop.png", png.getvalue(), "image/png")})
        answer.raise_for_status()
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))

    return sr


def load_crops(folder: Path, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """(label, uint8 (H, W, 3) RGB) of the named files, labels from the folder's labels.tsv."""
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as rows:
        labels = dict(csv.reader(rows, delimiter="\t"))
    return [(labels[name], np.asarray(Image.open(folder / name).convert("RGB"))) for name in names]


def main(argv: list[str] | None = None) -> int:
    """Write the picture; returns the exit code (2 when the server or the fonts cannot be used)."""
    parser = argparse.ArgumentParser(prog="python -m examples.make_figure", description="Pictures for the docs.")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server")
    parser.add_argument("--words", action="store_true", help="rendered words instead of the model's output")
    parser.add_argument("--fonts", type=Path, help="folder of fonts for --words; default: those installed")
    args = parser.parse_args(argv)
    try:
        sheet = word_sheet(args.fonts) if args.words else comparison(load_crops(CROPS, SHOWN), server(args.url))
    except (TrainingError, httpx.HTTPError) as exc:
        print(exc, file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)
    print(f"{args.out}: {sheet.width} x {sheet.height}, {args.out.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
