"""Words as crops of known height and blur, the data of `training calibrate` and of `bench ocr`.

    folder or tar with labels.tsv -> Latin words, in two halves    \
    rendered digits and Chinese words, in two halves                } -> crop at a height and blur, noise, JPEG

One half is for calibration, the other for proof; they share no photograph and no word. A crop's seed comes from
the word's name and the cell, so --limit does not change the crops of the words that it keeps.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from model_store.pixels import Rgb, resize
from training.calibration.rendered import WORDS, blurred, damaged, digits, draw_damage, fonts, render
from training.data.crops import SEED, CropSource, decode_crop, sample_seed
from training.errors import DataError

HEIGHTS = (12, 16, 24, 32, 48, 64)  # pixels of the crop
BLURS = (0.0, 0.03, 0.05, 0.08, 0.11)  # standard deviation over height
BLURRED, READABLE_HEIGHT = 0.05, 24  # the least blur and height of the crops that `bench ocr` reports as blurred
MIN_ROWS = 26  # of a crop that counts as a sharp word
RENDERED = 64  # height of rendered words before they are made small
SHARP = 0.5  # pixels of blur of rendered words
Half = Literal["calibration", "proof"]
SCRIPTS = ("latin", "digits", "chinese")
DIGITS = 115  # rendered in each half, about
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Word:
    name: str
    script: str
    label: str
    rgb: Rgb  # sharp


@dataclass(frozen=True)
class Cell:
    """One kind of crop. blur: standard deviation over height, applied before noise and JPEG."""

    height: int
    blur: float

    @property
    def name(self) -> str:
        return f"{self.height} px, blur {self.blur:g}"

    @property
    def is_blurred(self) -> bool:
        return self.blur >= BLURRED and self.height >= READABLE_HEIGHT

    @property
    def is_sharp(self) -> bool:
        """At the heights of the blurred cells."""
        return not self.blur and self.height >= READABLE_HEIGHT


CELLS = tuple(Cell(height, blur) for height in HEIGHTS for blur in BLURS)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or tar with labels.tsv")
    parser.add_argument("--scripts", default=",".join(SCRIPTS), help="by comma (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="number of words of each script (default: all)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the degradation (default: %(default)s)")


def words(data: Path, half: Half, *, scripts: Sequence[str] = SCRIPTS, limit: int | None = None) -> list[Word]:
    """The words of one half, script by script. Raises DataError for a script without words."""
    found: list[Word] = []
    for script in scripts:
        if script not in SCRIPTS:
            raise DataError(f"there is no script {script!r}; known are {', '.join(SCRIPTS)}")
        source = _real(data) if script == "latin" else _rendered(script)
        chosen = list(islice((word for word in source if half_of(word.name) == half), limit))
        if not chosen:
            raise DataError(f"{data} has no readable word of the {half} half that is {MIN_ROWS} px high")
        found += chosen
    return found


def half_of(name: str) -> Half:
    """The half of a word's photograph: `598_2.jpg` and `598_1.jpg` are cut from the same one."""
    return "proof" if sample_seed(0, name.rpartition("_")[0] or name) % 2 else "calibration"


def crop(word: Word, cell: Cell, *, seed: int) -> Rgb:
    """The word as a crop of that cell: uint8 (cell.height, W, 3)."""
    rng = np.random.default_rng(sample_seed(seed, f"{word.name} {cell.name}"))
    width = max(4, round(word.rgb.shape[1] * cell.height / len(word.rgb)))
    small = resize(word.rgb, height=cell.height, width=width)
    if cell.blur:
        small = np.rint(blurred(small.astype(np.float32), cell.blur * cell.height)).astype(np.uint8)
    return damaged(small, draw_damage(rng), rng)


def _real(data: Path) -> Iterator[Word]:
    for found in CropSource(data):
        try:
            rgb = decode_crop(found)
        except DataError as error:
            _log.warning("skipped: %s", error)
            continue
        if len(rgb) >= MIN_ROWS:
            yield Word(found.name, "latin", found.label, rgb)


def _rendered(script: str) -> Iterator[Word]:
    """2 * DIGITS random numbers, or every word of the Chinese list."""
    faces = fonts()[script]
    if not faces:
        raise DataError(f"no font here draws {script}; install one, such as Debian's fonts-wqy-zenhei")
    for number in range(2 * DIGITS if script == "digits" else len(WORDS[script])):
        name = f"{script}-{number}"
        rng = np.random.default_rng(sample_seed(0, name))
        label = digits(rng) if script == "digits" else WORDS[script][number]
        font = faces[int(rng.integers(len(faces)))]
        yield Word(name, script, label, render(label, font=font, height=RENDERED, blur=SHARP, rng=rng))
