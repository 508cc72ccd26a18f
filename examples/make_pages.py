"""Make the sample page in examples/pages: a notice whose last lines are small, and blurred with the rest.

    python -m examples.make_pages                      # writes examples/pages/market.png and market.txt

Rendered and degraded by `training.data`, not photographed, so it carries no one's rights. Fonts: as for
`examples.make_crops`, which also describes the fallback. The committed files are the reference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.data.degrade import degrade
from training.data.degrade_config import preset
from training.data.fonts import BUNDLED, Font, find_fonts
from training.errors import TrainingError

OUT = Path(__file__).parent / "pages"
SIZE = (344, 352)  # width and height of the page, in its own pixels
GROUND, INK = (238, 234, 224), (42, 46, 58)


@dataclass(frozen=True)
class Line:
    """One line of text. size, x, y: in pixels of the page."""

    text: str
    font: str
    size: int
    x: int
    y: int


LINES = (
    Line("HARBOUR MARKET", "FjallaOne-Regular", 38, 24, 16),
    Line("Fresh bread and coffee", "Lato-Bold", 24, 24, 72),
    Line("Open daily from 8 to 18", "Roboto-Medium", 20, 24, 112),
    Line("Saturday", "Roboto-Regular", 15, 24, 154),
    Line("fish and vegetables", "Roboto-Regular", 15, 150, 154),
    Line("Sunday", "Roboto-Regular", 15, 24, 182),
    Line("flowers, books and honey", "Roboto-Regular", 15, 150, 182),
    Line("Parking behind the station", "Lato-Regular", 12, 24, 222),
    Line("Ferry every twenty minutes", "SourceSerifPro-Regular", 12, 24, 246),
    Line("Lost property: second floor", "Roboto-Regular", 10, 24, 276),
    Line("Dogs are welcome on a lead", "Lato-Regular", 10, 24, 298),
    Line("Printed on recycled paper", "SourceSerifPro-Regular", 9, 24, 326),
)


def make_page(lines: tuple[Line, ...], fonts: Mapping[str, Font], *, seed: int = 3) -> np.ndarray:
    """uint8 (height, width, 3) RGB: drawn at twice the size, then degraded to it."""
    hr = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]), GROUND)
    pen = ImageDraw.Draw(hr)
    for line in lines:
        pen.text(
            (2 * line.x, 2 * line.y), line.text, fill=INK, font=fonts.get(line.font, BUNDLED).at(2 * line.size)
        )
    return degrade(np.array(hr), config=replace(preset("medium"), heavy_share=0.0), seed=seed)


def main(argv: list[str] | None = None) -> int:
    """Write the page and its text; returns the exit code (2 when the fonts cannot be used)."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.make_pages", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the PNG and its text")
    parser.add_argument("--fonts", type=Path, help="folder of fonts; default: those installed")
    args = parser.parse_args(argv)
    try:
        fonts = {font.name: font for font in find_fonts(args.fonts)}
    except TrainingError as exc:
        print(exc, file=sys.stderr)
        return 2
    for name in sorted({line.font for line in LINES} - fonts.keys()):
        print(f"no font {name} here, using {BUNDLED.name}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_page(LINES, fonts)).save(args.out / "market.png", optimize=True)
    (args.out / "market.txt").write_text("".join(f"{line.text}\n" for line in LINES), encoding="utf-8")
    print(f"{len(LINES)} lines in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
