"""Held-out words at natural heights, degraded four ways, to evaluate a network by the words that are read.

    crops kept from training -> placed whole on a canvas -> degraded by each preset -> `WordSet`
    network(lr) -> SR -> PSNR within the words' boxes, and the share of words that each recogniser reads

Heights are as in the service: 40 to 56 px of HR, or less for words too long for the canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.manifest import PixelSpec
from model_store.pixels import Rgb, resize
from training.config import DataConfig
from training.data.crop_store import open_roots
from training.data.crops import HR_HEIGHT, named_config, sample_seed
from training.data.degrade import degrade
from training.data.framing import place
from training.data.samples import Nchw
from training.errors import DataError
from training.metrics import text_figures
from training.ocr import TextReader
from training.validation import Evaluation

PRESETS = ("sharp", "mild", "medium", "hard")
HEIGHTS = (40, 56)  # pixels of HR
BATCH = 16  # pictures per call of the network
GAP = 4  # pixels of white between the pictures of a sheet

Uint8 = npt.NDArray[np.uint8]  # (N, height, width, 3) RGB
Read = Callable[[Uint8, npt.NDArray[np.float32]], list[str]]  # pictures, boxes of the text -> texts
Figures = Mapping[str, Mapping[str, float]]  # "hr", "bicubic", a network's name -> "psnr" or a reader's -> value


@dataclass(frozen=True, eq=False)
class WordSet:
    """N whole words degraded by one preset. boxes: float32 (N, 4), left, top, right, bottom on HR."""

    name: str
    labels: list[str]
    lr: Uint8
    hr: Uint8
    boxes: npt.NDArray[np.float32]

    @property
    def bicubic(self) -> Uint8:
        height, width = self.hr.shape[1:3]
        return np.stack([resize(lr, height=height, width=width) for lr in self.lr])


def word_sets(
    config: DataConfig, spec: PixelSpec, *, seed: int, limit: int | None = None, presets: Sequence[str] = PRESETS
) -> list[WordSet]:
    """The first `limit` words that `data.held_out` keeps from training, degraded by each preset.

    Raises DataError if there are none.
    """
    scale = spec.scale
    canvas = (scale * config.window[0], scale * config.window[1])
    kept = [crop for root in open_roots(config.train, part="held out", held_out=config.held_out) for crop in root]
    if not config.held_out or not kept:
        raise DataError("there is nothing to evaluate: data.held_out keeps no word of any tar or folder of crops")
    sets = []
    for preset in presets:
        degraded, rows = named_config(preset), []
        for number, crop in enumerate(kept[:limit]):
            own_seed = sample_seed(seed, f"{preset} {number}")
            rng = np.random.default_rng(own_seed)
            fits = int(canvas[1] * len(crop.hr) / crop.hr.shape[1])
            height = max(8, min(int(rng.integers(*HEIGHTS, endpoint=True)), fits, canvas[0]))
            placed = place(crop.hr, height=height, canvas=canvas, rng=rng)
            lr = degrade(placed.canvas, config=degraded, seed=own_seed, scale=height / HR_HEIGHT)
            rows.append((crop.label, lr, placed.canvas, placed.box))
        labels, lrs, hrs, boxes = zip(*rows, strict=True)
        sets.append(WordSet(preset, list(labels), np.stack(lrs), np.stack(hrs), np.array(boxes, np.float32)))
    return sets


def figures(
    words: WordSet, pictures: Mapping[str, Uint8], readers: Mapping[str, Read]
) -> dict[str, dict[str, float]]:
    """PSNR within the boxes, in dB, and the accuracy of each reader, in [0, 1], for each named picture set."""
    found: dict[str, dict[str, float]] = {}
    for name, made in pictures.items():
        values = {} if name == "hr" else {"psnr": psnr(words, made)}
        for reader, read in readers.items():
            values[reader] = text_figures(read(made, words.boxes), words.labels).accuracy
        found[name] = values
    return found


def psnr(words: WordSet, made: Uint8) -> float:
    """Mean PSNR over words in dB, each within its box."""
    each = []
    for a, b, box in zip(made, words.hr, words.boxes.astype(int), strict=True):
        left, top, right, bottom = box
        wrong = a[top:bottom, left:right].astype(np.float32) - b[top:bottom, left:right]
        each.append(10 * np.log10(255**2 / max(float(np.square(wrong).mean()), 1e-3)))
    return float(np.mean(each))


def cut(pictures: Uint8, boxes: npt.NDArray[np.float32]) -> list[Rgb]:
    """Crops of the words, the input of a `TextReader`."""
    cuts = boxes.astype(int).tolist()
    return [one[top:bottom, left:right] for one, (left, top, right, bottom) in zip(pictures, cuts, strict=True)]


def score(found: Sequence[Figures], name: str, readers: Sequence[str]) -> float:
    """The mean accuracy over sets and readers."""
    return float(np.mean([each[name][reader] for each in found for reader in readers]))


def sheet(words: WordSet, pictures: Mapping[str, Uint8], *, rows: int) -> Rgb:
    """The first words, one per row: LR as whole pixels, then every picture. uint8 (H, W, 3)."""
    scale = words.hr.shape[1] // words.lr.shape[1]
    columns = [words.lr[:rows].repeat(scale, 1).repeat(scale, 2), *(made[:rows] for made in pictures.values())]
    edges = ((0, 0), (0, GAP), (0, GAP), (0, 0))
    padded = [np.pad(column, edges, constant_values=255) for column in columns]
    return np.concatenate(list(np.concatenate(padded, axis=2)), axis=0)


class HeldOut:
    """Evaluates a run on held-out words: reading accuracy and PSNR.

    readers: the TextReaders of `run.readers`. They read bicubic once, at the first evaluation.
    """

    def __init__(self, sets: Sequence[WordSet], readers: Sequence[TextReader], *, rows: int) -> None:
        self._sets, self._rows = sets, rows
        self._readers = {reader.name: reads_crops(reader) for reader in readers}
        self._bicubic: dict[str, dict[str, float]] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values of `evaluate`."""
        each = [f"val_{words.name}_{reader}" for words in self._sets for reader in self._readers]
        return ("val_words", "val_words_bicubic", "val_psnr", "val_psnr_bicubic", *each)

    def evaluate(self, predict: Callable[[Nchw], Nchw]) -> Evaluation:
        """Evaluate a network. The score is the mean accuracy over presets and readers."""
        found, sheets = {}, []
        for words in self._sets:
            sr = _enlarged(predict, words.lr)
            if words.name not in self._bicubic:
                self._bicubic[words.name] = figures(words, {"bicubic": words.bicubic}, self._readers)["bicubic"]
            found[words.name] = figures(words, {"sr": sr}, self._readers)["sr"]
            if self._rows:
                sheets.append(sheet(words, {"bicubic": words.bicubic, "sr": sr, "hr": words.hr}, rows=self._rows))
        ours, plain = ([kinds[words.name] for words in self._sets] for kinds in (found, self._bicubic))
        values = {
            "val_words": _mean_of(ours, list(self._readers)),
            "val_words_bicubic": _mean_of(plain, list(self._readers)),
            "val_psnr": _mean_of(ours, ["psnr"]),
            "val_psnr_bicubic": _mean_of(plain, ["psnr"]),
        }
        each = {f"val_{name}_{reader}": found[name][reader] for name in found for reader in self._readers}
        return Evaluation(values | each, values["val_words"], np.concatenate(sheets) if sheets else None)


def _mean_of(found: Sequence[Mapping[str, float]], names: Sequence[str]) -> float:
    return float(np.mean([each[name] for each in found for name in names]))


def reads_crops(reader: TextReader) -> Read:
    """A `Read` that gives a recogniser the crops within the boxes."""
    return lambda pictures, boxes: reader.read(cut(pictures, boxes))


def _enlarged(predict: Callable[[Nchw], Nchw], lr: Uint8) -> Uint8:
    batches = [predict(_to_nchw(lr[start : start + BATCH])) for start in range(0, len(lr), BATCH)]
    sr = np.concatenate(batches).clip(0, 1).transpose(0, 2, 3, 1)
    return np.asarray(np.rint(255 * sr), np.uint8)


def _to_nchw(pictures: Uint8) -> Nchw:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
