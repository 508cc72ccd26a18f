"""Evaluation during training: PSNR and SSIM of SR against HR, beside bicubic, and a sheet of pictures.

`python -m training evaluate` reports more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model_store.manifest import PixelSpec
from model_store.pixels import crops_to_lr, resize, sr_to_crops
from training.config import CommonConfig
from training.data.lmdb import Rgb
from training.data.loader import validation_batches
from training.data.samples import Batch, Nchw, validation_samples
from training.metrics import SRMetric, text_figures
from training.ocr import TextReader

GAP = 4  # pixels of white between the pictures of a sheet


@dataclass(frozen=True, eq=False)
class Evaluation:
    """values: by name, for the log. score: higher is better. sheet: uint8 (H, W, 3) RGB."""

    values: Mapping[str, float]
    score: float
    sheet: Rgb | None = None

    def line(self) -> str:
        return ", ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in self.values.items())


TELESCOPE_COLUMNS = ("val_psnr", "val_ssim", "val_psnr_bicubic", "val_ssim_bicubic")
READER_COLUMNS = ("val_accuracy", "val_character_error_rate")
RECOGNISER_COLUMNS = (*READER_COLUMNS, "val_accuracy_bicubic")


class ValidationBatches:
    """Validation batches, made once: rank 0 evaluates on the same pictures dozens of times."""

    def __init__(self, config: CommonConfig, spec: PixelSpec) -> None:
        self._samples = validation_samples(config.data, spec, seed=config.seed)
        self._batch_size, self._limit = config.run.evaluation_batch_size, config.data.validation_limit
        self._made: list[Batch] = []

    def all(self) -> list[Batch]:
        if not self._made:
            self._made = list(validation_batches(self._samples, batch_size=self._batch_size, limit=self._limit))
        return self._made


class Recognisers:
    """Published recognisers that choose the best checkpoint: PSNR can rise while text becomes harder to read.

    They read bicubic once, as it is the same at every evaluation.
    """

    def __init__(self, readers: Sequence[TextReader]) -> None:
        self._readers = readers
        self._bicubic: float | None = None

    def values(self, sr: Sequence[Rgb], bicubic: Sequence[Rgb], labels: Sequence[str]) -> dict[str, float]:
        """RECOGNISER_COLUMNS, as means over the recognisers."""
        if self._bicubic is None:
            self._bicubic = self._read(bicubic, labels)[0]
        return dict(zip(RECOGNISER_COLUMNS, (*self._read(sr, labels), self._bicubic), strict=True))

    def _read(self, crops: Sequence[Rgb], labels: Sequence[str]) -> tuple[float, float]:
        figures = [text_figures(reader.read(crops), labels) for reader in self._readers]
        accuracy, errors = zip(*((f.accuracy, f.character_error_rate) for f in figures), strict=True)
        return float(np.mean(accuracy)), float(np.mean(errors))


def evaluate_telescope(
    predict: Callable[[Nchw], Nchw],
    batches: Iterable[Batch],
    *,
    spec: PixelSpec,
    sheet_rows: int,
    recognisers: Recognisers | None = None,
) -> Evaluation:
    """PSNR_Avg and SSIM_Avg over the batches, as PaddleOCR's SRMetric; their sum is the score.

    With recognisers the score is the share of words read right, minus the character error rate.
    """
    ours, bicubic = SRMetric(), SRMetric()
    made: list[Rgb] = []
    plain: list[Rgb] = []
    labels: list[str] = []
    rows: list[list[Rgb]] = []
    for batch in batches:
        sr, enlarged = predict(batch.lr), bicubic_sr(batch.lr, spec)
        ours.update(sr, batch.hr)
        bicubic.update(enlarged, batch.hr)
        if recognisers is not None:
            made += sr_to_crops(sr, spec)
            plain += sr_to_crops(enlarged, spec)
            labels += batch.labels
        if len(rows) < sheet_rows:
            columns = [sr_to_crops(pictures, spec) for pictures in (batch.lr, enlarged, sr, batch.hr)]
            rows += [list(row) for row in zip(*columns, strict=True)][: sheet_rows - len(rows)]
    figures, baseline = ours.result(), bicubic.result()
    measured = (figures.psnr_avg, figures.ssim_avg, baseline.psnr_avg, baseline.ssim_avg)
    values = dict(zip(TELESCOPE_COLUMNS, measured, strict=True))
    sheet = _sheet(rows) if rows else None
    if recognisers is None:
        return Evaluation(values, figures.all, sheet)
    text = recognisers.values(made, plain, labels)
    return Evaluation(values | text, text["val_accuracy"] - text["val_character_error_rate"], sheet)


def evaluate_reader(read: Callable[[Nchw], list[str]], batches: Iterable[Batch]) -> Evaluation:
    """Accuracy on the words of HR; the score is accuracy minus the character error rate.

    Accuracy alone stays 0 at the start of training and could not rank checkpoints.
    """
    readings: list[str] = []
    labels: list[str] = []
    for batch in batches:
        readings += read(batch.hr)
        labels += batch.labels
    figures = text_figures(readings, labels)
    values = dict(zip(READER_COLUMNS, (figures.accuracy, figures.character_error_rate), strict=True))
    return Evaluation(values, figures.accuracy - figures.character_error_rate)


def bicubic_sr(lr: Nchw, spec: PixelSpec) -> Nchw:
    """LR (N, 3, h, w) enlarged by Pillow's bicubic filter, through 8 bits as the published baseline."""
    large = replace(spec, height=spec.height * spec.scale, width=spec.width * spec.scale)
    return crops_to_lr(sr_to_crops(lr, spec), large)


def _sheet(rows: list[list[Rgb]]) -> Rgb:
    """Rows of LR | bicubic | SR | HR, the LR enlarged to whole pixels."""
    height, width = rows[0][-1].shape[:2]
    lines = []
    for row in rows:
        scale = height // row[0].shape[0]
        lr = row[0].repeat(scale, axis=0).repeat(scale, axis=1)
        line = np.full((height + GAP, 4 * (width + GAP), 3), 255, np.uint8)
        for column, picture in enumerate([lr, *map(_same_size(height, width), row[1:])]):
            left = column * (width + GAP)
            line[:height, left : left + width] = picture
        lines.append(line)
    return np.concatenate(lines)


def _same_size(height: int, width: int) -> Callable[[Rgb], Rgb]:
    return lambda picture: resize(picture, height=height, width=width)
