"""Small crops as OCR pipelines meet them: sharp words, made small or spoilt in one known way a subset.

    folder or tar with labels.tsv -> words -> small -> LR crops in their natural proportion

Nothing is stretched to the network's input here; that is the business of what is measured. A crop's seed comes
from its own name: with --limit the first crops stay the same pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from model_store.pixels import Rgb, resize
from training.data.crops import HR_HEIGHT, MIN_HEIGHT, CropSource, decode_crop, named_config, sample_seed
from training.data.degrade import DegradeConfig, degrade
from training.errors import DataError

HEIGHTS = (10, 24)  # px of LR: below 10 nobody reads, and 24 is where recognisers begin to need no help
SHARP_HEIGHTS = (10, 20)
_log = logging.getLogger(__name__)

# One fault alone: nothing else of the default degradation.
_ALONE = DegradeConfig(
    misalign_share=0, light_share=0, gaussian_share=1, defocus_share=0, sigma_px=(0.4, 0.8), sigma_tail_share=0,
    noise_share=0, sharpen_share=0, jpeg_share=0, heavy_share=0,
)  # fmt: skip
SUBSETS: dict[str, tuple[str, DegradeConfig | None]] = {  # name -> what it is, and how it is made
    "sharp": ("made small with antialiasing and nothing else, 10 to 20 px high", None),
    "blurred": ("blurred alone", replace(_ALONE, sigma_px=(1.2, 2.8))),
    "noisy": ("noisy alone", replace(_ALONE, noise_share=1, noise_std=(4, 12))),
    "compressed": ("a strong JPEG alone", replace(_ALONE, jpeg_share=1, jpeg_quality=(25, 60))),
    "mild": ("a little of everything", named_config("mild")),
    "medium": ("more of everything", named_config("medium")),
    "hard": ("much of everything", named_config("hard")),
    "heights": ("as in training, 10 to 24 px high", DegradeConfig()),
}


@dataclass(frozen=True, eq=False)
class Word:
    name: str
    label: str
    rgb: Rgb


def words(data: Path, *, limit: int | None = None) -> list[Word]:
    """The readable crops of at least MIN_HEIGHT pixels, in order. DataError where there is none."""
    found = list(islice(_words(data), limit))
    if not found:
        raise DataError(f"{data} has no crop at least {MIN_HEIGHT} px high")
    return found


def _words(data: Path) -> Iterator[Word]:
    for crop in CropSource(data):
        try:
            rgb = decode_crop(crop)
        except DataError as error:
            _log.warning("skipped: %s", error)
            continue
        if len(rgb) >= MIN_HEIGHT:
            yield Word(crop.name, crop.label, rgb)


def small(subset: str, chosen: Sequence[Word], *, seed: int) -> list[Rgb]:
    """The LR crop of each word, as SUBSETS says of that subset."""
    return [_lr(subset, word, sample_seed(seed, word.name)) for word in chosen]


def _lr(subset: str, word: Word, seed: int) -> Rgb:
    _, config = SUBSETS[subset]
    draw = np.random.default_rng([seed, 1])
    if config is None:
        height = int(draw.integers(*SHARP_HEIGHTS, endpoint=True))
        return resize(word.rgb, height=height, width=_width(word, height))
    # HR may be enlarged by as little as MIN_HEIGHT allows, whatever the height asked for.
    highest = min(HEIGHTS[1], len(word.rgb) * HR_HEIGHT // MIN_HEIGHT // 2)
    height = int(draw.integers(HEIGHTS[0], highest, endpoint=True)) if subset == "heights" else HR_HEIGHT // 2
    hr = resize(word.rgb, height=2 * height, width=2 * _width(word, height))
    return degrade(hr, config=config, seed=seed)


def _width(word: Word, height: int) -> int:
    return max(4, round(int(word.rgb.shape[1]) * height / len(word.rgb)))
