"""The figures of an evaluation: pictures against HR, and readings against labels, SR beside bicubic.

rows of (sr, hr) -> BatchedMetric -> SRFigures          readings of HR, bicubic, SR -> TextScore
Score: both for one subset, or for all of them; score_table prints them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.metrics import Nchw, SRFigures, SRMetric, TextFigures, normalise_text, text_figures

PICTURES = ("hr", "bicubic", "sr")  # what is read, in the order of the tables


class BatchedMetric:
    """SRMetric over rows that come in any number at a time, regrouped into its batch size."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._metric = SRMetric()
        self._sr: list[np.ndarray] = []
        self._hr: list[np.ndarray] = []

    def update(self, sr: Nchw, hr: Nchw) -> None:
        """Add rows of (N, 3, H, W) in [0, 1], N being any number."""
        for sr_row, hr_row in zip(sr, hr, strict=True):
            self._sr.append(sr_row)
            self._hr.append(hr_row)
            if len(self._sr) == self._batch_size:
                self._flush()

    def result(self) -> SRFigures:
        """The figures so far, the last batch as small as it is; ValueError before the first row."""
        if self._sr:
            self._flush()
        return self._metric.result()

    def _flush(self) -> None:
        self._metric.update(np.stack(self._sr), np.stack(self._hr))
        self._sr, self._hr = [], []


@dataclass(frozen=True)
class TextScore:
    """One recogniser on the same words three times. fixed, broken: read right in SR alone, in bicubic alone."""

    hr: TextFigures
    bicubic: TextFigures
    sr: TextFigures
    fixed: int
    broken: int


@dataclass(frozen=True)
class Score:
    """Figures of one subset, or of all; text by recogniser."""

    name: str
    crops: int
    bicubic: SRFigures
    sr: SRFigures
    unreadable: int = 0
    too_low: int = 0
    text: Mapping[str, TextScore] = field(default_factory=dict)


def text_score(readings: Mapping[str, Sequence[str]], labels: Sequence[str]) -> TextScore:
    """readings: by picture ("hr", "bicubic", "sr"), a text for each label."""
    figures = {picture: text_figures(readings[picture], labels) for picture in PICTURES}
    before, after = (
        [is_read(text, label) for text, label in zip(readings[picture], labels, strict=True)]
        for picture in ("bicubic", "sr")
    )
    return TextScore(
        **figures,
        fixed=sum(now and not then for then, now in zip(before, after, strict=True)),
        broken=sum(then and not now for then, now in zip(before, after, strict=True)),
    )


def is_read(text: str, label: str) -> bool:
    """Whether a reading counts as right: equal in [0-9a-z], case apart."""
    return normalise_text(text) == normalise_text(label)


def score_table(scores: Sequence[Score], *, model: str) -> str:
    """The figures as text for a terminal; the last score is printed like the others."""
    width = max(len(model), 8)
    lines = [f"{'':{width}}  PSNR_Avg  SSIM_Avg  PSNR/image  SSIM/image"]
    for score in scores:
        lines.append(f"{score.name} ({score.crops} crops{_left_out(score)})")
        for name, figures in (("bicubic", score.bicubic), (model, score.sr)):
            lines.append(
                f"{name:{width}}  {figures.psnr_avg:8.2f}  {figures.ssim_avg:8.4f}  "
                f"{figures.psnr_image_mean:10.2f}  {figures.ssim_image_mean:10.4f}"
            )
    if any(score.text for score in scores):
        lines += ["", f"{'words read, % (95 % interval)':32}{'HR':>19}{'bicubic':>19}{'SR':>19}  fixed  broken"]
    for score in scores:
        for reader, text in score.text.items():
            cells = "".join(f"{percent(getattr(text, picture)):>19}" for picture in PICTURES)
            lines.append(f"{score.name + ', ' + reader:32}{cells}  {text.fixed:5}  {text.broken:6}")
    return "\n".join(lines)


def percent(figures: TextFigures) -> str:
    """`83.1 (79.2-86.4)`: accuracy and its interval, in per cent."""
    return f"{100 * figures.accuracy:.1f} ({100 * figures.low:.1f}-{100 * figures.high:.1f})"


def _left_out(score: Score) -> str:
    counts = {"unreadable": score.unreadable, "too low": score.too_low}
    return "".join(f", {count} {why}" for why, count in counts.items() if count)
