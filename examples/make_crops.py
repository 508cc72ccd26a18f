"""Make the sample crops in examples/crops: small, blurred words with their labels.

    python -m examples.make_crops                      # writes examples/crops/*.png and labels.tsv
    python -m examples.make_crops --fonts my_fonts     # fonts from a folder instead of the installed ones

The words are rendered and degraded by `training.data`, not photographed, so they carry no one's rights.
The committed files were made with fonts of the Python packages font-roboto 0.0.1 (Apache-2.0),
font-lato 0.1.0, font-source-serif-pro 0.0.1, font-fjallaone 0.1.7 and font-fredoka-one 0.0.4 (SIL OFL 1.1);
no font file is shipped. With these installed the command repeats the files as long as Pillow and
OpenCV rasterise alike; a font that is missing is replaced by Pillow's own Aileron and named on stderr.
The committed files are the reference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.degrade import degrade
from training.data.degrade_config import preset
from training.data.fonts import BUNDLED, Font, find_fonts
from training.data.synth import SynthConfig, render_word
from training.errors import TrainingError

OUT = Path(__file__).parent / "crops"


@dataclass(frozen=True)
class Sample:
    """One crop. height: in pixels. preset: of the degradation."""

    text: str
    height: int
    preset: str
    font: str
    seed: int

    @property
    def file(self) -> str:
        return f"{self.text.lower()}.png"


SAMPLES = (
    Sample("Harbour", 16, "medium", "Roboto-Bold", 12),
    Sample("PHARMACY", 16, "medium", "Roboto-Medium", 14),
    Sample("Bakery", 18, "medium", "FredokaOne-Regular", 13),
    Sample("STATION", 14, "medium", "FjallaOne-Regular", 5),
    Sample("Platform", 16, "defocus", "Lato-Bold", 7),
    Sample("MUSEUM", 20, "hard", "SourceSerifPro-Bold", 8),
    Sample("garden", 20, "medium", "Lato-Regular", 10),
    Sample("LIBRARY", 12, "mild", "Roboto-Regular", 8),
    Sample("Theatre", 24, "hard", "SourceSerifPro-Semibold", 14),
    Sample("PARKING", 15, "noise-jpeg", "Roboto-Bold", 14),
    Sample("Coffee", 22, "hard", "Lato-Black", 3),
    Sample("2150379", 16, "medium", "Roboto-Regular", 10),
)


def make_crop(sample: Sample, fonts: Mapping[str, Font]) -> np.ndarray:
    """uint8 (height, W, 3) RGB; a font that is absent is replaced by Pillow's own."""
    config = SynthConfig(height_px=(2 * sample.height, 2 * sample.height), min_contrast=80.0)
    hr = render_word(sample.text, config=config, fonts=[fonts.get(sample.font, BUNDLED)], seed=sample.seed)
    even = hr[:, : hr.shape[1] // 2 * 2]
    return degrade(even, config=replace(preset(sample.preset), heavy_share=0.0), seed=sample.seed)


def main(argv: list[str] | None = None) -> int:
    """Write the crops and labels.tsv; returns the exit code (2 when the fonts cannot be used)."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.make_crops", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the PNGs and labels.tsv")
    parser.add_argument("--fonts", type=Path, help="folder of fonts; default: those installed")
    args = parser.parse_args(argv)
    try:
        fonts = {font.name: font for font in find_fonts(args.fonts)}
    except TrainingError as exc:
        print(exc, file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        if sample.font not in fonts:
            print(f"{sample.text}: no font {sample.font} here, using {BUNDLED.name}", file=sys.stderr)
        Image.fromarray(make_crop(sample, fonts)).save(args.out / sample.file, optimize=True)
    rows = [f"{sample.file}\t{sample.text}\n" for sample in SAMPLES]
    (args.out / "labels.tsv").write_text("".join(rows), encoding="utf-8")
    print(f"{len(rows)} crops in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
