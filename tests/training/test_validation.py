"""Evaluation inside training: the figures are `training.metrics`'s, and the sheet shows what was compared."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from model_store.manifest import PixelSpec
from model_store.pixels import resize
from training.data.samples import Batch, Pair, collate
from training.metrics import SRMetric
from training.validation import Evaluation, Recognisers, bicubic_sr, evaluate_reader, evaluate_telescope

SPEC = PixelSpec(height=16, width=64, scale=2)


def batches() -> list[Batch]:
    draw = np.random.default_rng(4)
    pairs = [
        Pair("word", draw.integers(0, 256, (16, 64, 3), np.uint8), draw.integers(0, 256, (32, 128, 3), np.uint8))
        for _ in range(5)
    ]
    return [collate(pairs[:3]), collate(pairs[3:])]


def test_the_figures_are_those_of_srmetric_and_their_sum_is_the_score() -> None:
    made, metric = batches(), SRMetric()
    for batch in made:
        metric.update(batch.hr * 0.9, batch.hr)
    answers = iter([batch.hr * np.float32(0.9) for batch in made])
    found = evaluate_telescope(lambda _: next(answers), made, spec=SPEC, sheet_rows=4)
    figures = metric.result()
    assert found.values["val_psnr"] == pytest.approx(figures.psnr_avg)
    assert found.values["val_ssim"] == pytest.approx(figures.ssim_avg)
    assert found.score == pytest.approx(figures.psnr_avg + figures.ssim_avg)


def test_a_network_that_enlarges_bicubically_scores_as_bicubic() -> None:
    values = evaluate_telescope(lambda lr: bicubic_sr(lr, SPEC), batches(), spec=SPEC, sheet_rows=0).values
    assert values["val_psnr"] == values["val_psnr_bicubic"]
    assert values["val_ssim"] == values["val_ssim_bicubic"]


def test_bicubic_is_pillows_on_8_bits() -> None:
    batch = batches()[0]
    lr = np.rint(batch.lr[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    expected = resize(lr, height=32, width=128)
    assert np.array_equal(np.rint(bicubic_sr(batch.lr, SPEC)[0].transpose(1, 2, 0) * 255), expected)


def test_the_sheet_has_lr_bicubic_sr_and_hr_side_by_side() -> None:
    made = batches()
    answers = iter([np.zeros_like(batch.hr) for batch in made])
    sheet = evaluate_telescope(lambda _: next(answers), made, spec=SPEC, sheet_rows=4).sheet
    assert sheet is not None
    assert sheet.shape == (4 * 36, 4 * 132, 3)
    lr, bicubic, sr, hr = (sheet[:32, 132 * k : 132 * k + 128] for k in range(4))
    np.testing.assert_array_equal(lr[::2, ::2], np.rint(made[0].lr[0].transpose(1, 2, 0) * 255))
    np.testing.assert_array_equal(hr, np.rint(made[0].hr[0].transpose(1, 2, 0) * 255))
    assert not sr.any()
    assert bicubic.any()


def test_a_reader_is_scored_by_whole_words_less_its_wrong_characters() -> None:
    answers = iter([["word", "wood", "WORD"], ["", "word"]])
    found = evaluate_reader(lambda _: next(answers), batches())
    assert found.values == {"val_accuracy": 3 / 5, "val_character_error_rate": 5 / 20}
    assert found.score == pytest.approx(0.35)


class ByBrightness:
    """A recogniser that reads "bright" or "dark", and counts what it was shown."""

    name, version, seen = "brightness", "1", 0

    def read(self, crops: Sequence[np.ndarray]) -> list[str]:
        self.seen += len(crops)
        return ["bright" if crop.mean() > 127 else "dark" for crop in crops]


def test_with_recognisers_the_score_is_what_they_read_and_not_psnr() -> None:
    made, reader = batches(), ByBrightness()
    labelled = [replace(batch, labels=("bright",) * len(batch.labels)) for batch in made]
    recognisers = Recognisers([reader])

    def evaluate(level: float) -> Evaluation:
        answers = iter([np.full_like(batch.hr, level) for batch in made])
        return evaluate_telescope(
            lambda _: next(answers), labelled, spec=SPEC, sheet_rows=0, recognisers=recognisers
        )

    grey, white = evaluate(0.49), evaluate(1.0)
    assert grey.values["val_psnr"] > white.values["val_psnr"]
    assert grey.values["val_accuracy"] == 0
    assert white.values["val_accuracy"] == white.score == 1
    assert grey.score == -grey.values["val_character_error_rate"]
    assert grey.values["val_accuracy_bicubic"] == white.values["val_accuracy_bicubic"]
    assert reader.seen == 3 * 5  # SR twice, bicubic once
