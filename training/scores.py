"""The figures of an evaluation: pictures against HR, and readings against labels, SR beside bicubic.

rows of (sr, hr) -> BatchedMetric -> SRFigures          readings of HR, bicubic, SR -> TextScore
Measured: pictures and readings of one subset. Score: figures of one subset or of all; score_table prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from model_store.pixels import Rgb
from training.data.pairs import PairSet
from training.metrics import Nchw, SRFigures, SRMetric, TextFigures, normalise_text, text_figures

PICTURES = ("hr", "bicubic", "sr")  # the pictures that recognisers read, in the order of the tables


class BatchedMetric:
    """SRMetric over rows that arrive in any number, regrouped into its batch size."""

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
        """The figures so far, the last batch possibly smaller; ValueError before the first row."""
        if self._sr:
            self._flush()
        return self._metric.result()

    def _flush(self) -> None:
        self._metric.update(np.stack(self._sr), np.stack(self._hr))
        self._sr, self._hr = [], []


@dataclass(eq=False)
class Measured:
    """A set of pairs with the network's output. psnr_*: dB of each crop. readings: reader -> picture -> texts."""

    pairs: PairSet
    bicubic: list[Rgb] = field(default_factory=list)
    sr: list[Rgb] = field(default_factory=list)
    psnr_bicubic: list[float] = field(default_factory=list)
    psnr_sr: list[float] = field(default_factory=list)
    readings: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def pictures(self, kind: str) -> list[Rgb]:
        return {"hr": self.pairs.hr, "bicubic": self.bicubic, "sr": self.sr}[kind]


@dataclass(frozen=True)
class TextScore:
    """One recogniser on HR, bicubic and SR. fixed: words right in SR but not in bicubic; broken: the reverse."""

    hr: TextFigures
    bicubic: TextFigures
    sr: TextFigures
    fixed: int
    broken: int


@dataclass(frozen=True)
class Score:
    """Figures of one subset, or of all subsets. text: by recogniser."""

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


def with_text(scores: Sequence[Score], measured: Sequence[Measured], readers: Sequence[str]) -> list[Score]:
    """The scores with the text figures of each recogniser; the overall score joins the readings of all sets."""
    groups = [[part] for part in measured] + ([list(measured)] if len(measured) > 1 else [])
    return [
        replace(score, text={reader: text_score(*_joined(group, reader)) for reader in readers})
        for score, group in zip(scores, groups, strict=True)
    ]


def _joined(group: Sequence[Measured], reader: str) -> tuple[Mapping[str, list[str]], list[str]]:
    labels = [label for part in group for label in part.pairs.labels]
    return {kind: [text for part in group for text in part.readings[reader][kind]] for kind in PICTURES}, labels


def is_read(text: str, label: str) -> bool:
    """Whether a reading is right: equal to the label in [0-9a-z], ignoring case."""
    return normalise_text(text) == normalise_text(label)


def score_table(scores: Sequence[Score], *, model: str) -> str:
    """The figures as text for a terminal."""
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
