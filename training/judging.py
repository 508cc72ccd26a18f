"""Held-out words at natural heights, degraded four ways, to judge a network by what is read.

    crops kept from training -> on a canvas, whole -> degraded by each preset -> `WordSet`
    network(lr) -> SR -> PSNR within the words' boxes, and the share of words that each reader reads

Heights follow what a service shows the network: 40 to 56 px of HR, or less where a word would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.pixels import Rgb, resize
from training.data.crop_store import open_roots
from training.data.crops import HR_HEIGHT, named_config, sample_seed
from training.data.degrade import degrade
from training.data.framing import place
from training.data.samples import Samples
from training.errors import DataError
from training.metrics import text_figures

PRESETS = ("sharp", "mild", "medium", "hard")
HEIGHTS = (40, 56)  # pixels of HR
GAP = 4  # pixels of white between the pictures of a sheet

Uint8 = npt.NDArray[np.uint8]  # (N, height, width, 3) RGB
Read = Callable[[Uint8, npt.NDArray[np.float32]], list[str]]  # pictures, boxes of the text -> texts
Figures = Mapping[str, Mapping[str, float]]  # "hr", "bicubic", a network's name -> "psnr" or a reader's -> value


@dataclass(frozen=True, eq=False)
class WordSet:
    """N whole words under one preset. boxes: float32 (N, 4), left, top, right, bottom on HR."""

    name: str
    labels: list[str]
    lr: Uint8
    hr: Uint8
    boxes: npt.NDArray[np.float32]

    @property
    def bicubic(self) -> Uint8:
        height, width = self.hr.shape[1:3]
        return np.stack([resize(lr, height=height, width=width) for lr in self.lr])


def word_sets(samples: Samples, *, limit: int | None = None, presets: Sequence[str] = PRESETS) -> list[WordSet]:
    """The words that `data.held_out` keeps from training, the first `limit`, under each preset.

    Raises DataError if there are none.
    """
    config, scale = samples.config, samples.spec.scale
    canvas = (scale * config.window[0], scale * config.window[1])
    kept = [crop for root in open_roots(config.train, part="held out", held_out=config.held_out) for crop in root]
    if not config.held_out or not kept:
        raise DataError("there is nothing to judge by: data.held_out keeps no word of any tar or folder of crops")
    sets = []
    for preset in presets:
        degraded, rows = named_config(preset), []
        for number, crop in enumerate(kept[:limit]):
            seed = sample_seed(samples.seed, f"{preset} {number}")
            rng = np.random.default_rng(seed)
            fits = int(canvas[1] * len(crop.hr) / crop.hr.shape[1])
            height = max(8, min(int(rng.integers(*HEIGHTS, endpoint=True)), fits, canvas[0]))
            placed = place(crop.hr, height=height, canvas=canvas, rng=rng)
            lr = degrade(placed.canvas, config=degraded, seed=seed, scale=height / HR_HEIGHT)
            rows.append((crop.label, lr, placed.canvas, placed.box))
        labels, lrs, hrs, boxes = zip(*rows, strict=True)
        sets.append(WordSet(preset, list(labels), np.stack(lrs), np.stack(hrs), np.array(boxes, np.float32)))
    return sets


def figures(
    words: WordSet, pictures: Mapping[str, Uint8], readers: Mapping[str, Read]
) -> dict[str, dict[str, float]]:
    """PSNR within the boxes, in dB, and what each reader reads right, from 0 to 1, of pictures by name."""
    found: dict[str, dict[str, float]] = {}
    for name, made in pictures.items():
        values = {} if name == "hr" else {"psnr": psnr(words, made)}
        for reader, read in readers.items():
            values[reader] = text_figures(read(made, words.boxes), words.labels).accuracy
        found[name] = values
    return found


def psnr(words: WordSet, made: Uint8) -> float:
    """Mean over words, in dB, each within its box."""
    each = []
    for a, b, box in zip(made, words.hr, words.boxes.astype(int), strict=True):
        left, top, right, bottom = box
        wrong = a[top:bottom, left:right].astype(np.float32) - b[top:bottom, left:right]
        each.append(10 * np.log10(255**2 / max(float(np.square(wrong).mean()), 1e-3)))
    return float(np.mean(each))


def cut(pictures: Uint8, boxes: npt.NDArray[np.float32]) -> list[Rgb]:
    """The words alone, as other recognisers are given crops."""
    cuts = boxes.astype(int).tolist()
    return [one[top:bottom, left:right] for one, (left, top, right, bottom) in zip(pictures, cuts, strict=True)]


def score(found: Sequence[Figures], name: str, readers: Sequence[str]) -> float:
    """The mean share of words read, over sets and readers."""
    return float(np.mean([each[name][reader] for each in found for reader in readers]))


def sheet(words: WordSet, pictures: Mapping[str, Uint8], *, rows: int) -> Rgb:
    """The first words, one a row: LR enlarged to whole pixels, and every picture. uint8 (H, W, 3)."""
    scale = words.hr.shape[1] // words.lr.shape[1]
    columns = [words.lr[:rows].repeat(scale, 1).repeat(scale, 2), *(made[:rows] for made in pictures.values())]
    edges = ((0, 0), (0, GAP), (0, GAP), (0, 0))
    padded = [np.pad(column, edges, constant_values=255) for column in columns]
    return np.concatenate(list(np.concatenate(padded, axis=2)), axis=0)
