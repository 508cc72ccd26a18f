"""Builders of `make-data`: each makes one sample of one task.

Crop  -> CropBuilder -> Made | Skipped        index -> WordBuilder -> Made
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model_store.pixels import Rgb
from training.data.crops import Crop, decode_crop, make_pair, sample_seed
from training.data.degrade_config import DegradeConfig
from training.data.fonts import Font
from training.data.grounds import load_grounds
from training.data.lmdb_writer import encode_png
from training.data.synth import SynthConfig, render_word
from training.data.words import load_words, random_word
from training.errors import DataError

ATTEMPTS = 20  # words to try for a sample before the fonts are blamed


@dataclass(frozen=True)
class Made:
    """A sample to store: its label and PNG bytes; lr is None if the crop is stored alone."""

    label: str
    hr: bytes
    lr: bytes | None


@dataclass(frozen=True)
class Skipped:
    kind: Literal["unreadable", "too low"]
    reason: str


class CropBuilder:
    """Degrades crops of at least min_height pixels; config None stores the crop alone."""

    def __init__(self, *, config: DegradeConfig | None, seed: int, min_height: int) -> None:
        self._config, self._seed, self._min_height = config, seed, min_height

    def __call__(self, crop: Crop) -> Made | Skipped:
        rgb = self._accept(crop)
        if isinstance(rgb, Skipped):
            return rgb
        return _made(crop.label, rgb, self._config, sample_seed(self._seed, crop.name))

    def refuses(self, crop: Crop) -> Skipped | None:
        """The reason why this crop gives no sample, or None; makes no sample."""
        rgb = self._accept(crop)
        return rgb if isinstance(rgb, Skipped) else None

    def _accept(self, crop: Crop) -> Rgb | Skipped:
        try:
            rgb = decode_crop(crop)
        except DataError as error:
            return Skipped("unreadable", str(error))
        if len(rgb) < self._min_height:
            return Skipped("too low", f"{crop.name} is {len(rgb)} pixels high")
        return rgb


class WordBuilder:
    """Renders words, each from its index alone. words: a word list. grounds: a folder of photographs."""

    def __init__(
        self,
        *,
        config: DegradeConfig | None,
        seed: int,
        fonts: Sequence[Font],
        words: Path | None = None,
        grounds: Path | None = None,
        synth: SynthConfig | None = None,
    ) -> None:
        self._config, self._seed, self._fonts = config, seed, fonts
        self._words = load_words(words) if words else None
        self._grounds = load_grounds(grounds) if grounds else None
        self._synth = synth or SynthConfig()

    def __call__(self, index: int) -> Made:
        """Make sample `index`; a word that no font can draw is replaced by another."""
        for attempt in range(ATTEMPTS):
            seed = sample_seed(self._seed, f"word {index} attempt {attempt}")
            text = random_word(np.random.default_rng(seed), words=self._words)
            try:
                rgb = render_word(text, config=self._synth, fonts=self._fonts, seed=seed, grounds=self._grounds)
            except DataError as error:
                last = error
                continue
            return _made(text, rgb, self._config, seed)
        raise DataError(f"{ATTEMPTS} words could not be rendered, the last because {last}")

    def refuses(self, index: int) -> None:
        """None: every index gives a sample."""


def _made(label: str, rgb: Rgb, config: DegradeConfig | None, seed: int) -> Made:
    if config is None:
        return Made(label, encode_png(rgb), None)
    hr, lr = make_pair(rgb, config=config, seed=seed)
    return Made(label, encode_png(hr), encode_png(lr))
