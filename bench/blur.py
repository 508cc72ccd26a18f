"""The error of the blur estimate (model_store/blur.py) on rendered text of known blur.

    text -> rendered with a known Gaussian -> clean | noisy | JPEG -> estimate -> error, by script, height and kind

An error is the ratio of the estimate to the truth, less one: +10 % is a blur measured a tenth too large.
`python -m training fit-blur` fits the estimate, to pictures of another seed.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from bench.harness.options import Options, Value
from bench.harness.report import Report, Table
from model_store.blur import estimate
from training.calibration.blur import LEAST, samples
from training.data.crops import SEED

OPTIONS: Options = {"each": Value(40, quick=3), "seed": Value(SEED)}
SHARP_BELOW = 0.8  # px: below it a pixel's own width hides the blur
COLUMNS = ("number", "median error", "median of its size", "nine tenths within")


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    found = list(samples(each=args.each, seed=args.seed))
    measured = np.array([estimate(sample.rgb).blur for sample in found])
    truth = np.array([sample.blur for sample in found])
    kept = ~np.isnan(measured)  # the others are taken for a plain ground
    errors: dict[str, list[float]] = {"all": []}
    for sample, error, counts in zip(found, measured / truth - 1, kept & (truth >= SHARP_BELOW), strict=True):
        if counts:
            for group in ("all", sample.script, f"{sample.height} px", sample.kind):
                errors.setdefault(group, []).append(float(error))
    order = dict.fromkeys(
        ["all", *(s.script for s in found), *(f"{s.height} px" for s in found), *(s.kind for s in found)]
    )
    figures = {group: _figures(errors[group]) for group in order if group in errors}
    rows = [
        [group, str(number), f"{median:+.0%}", f"{size:.0%}", f"{most:.0%}"]
        for group, (number, median, size, most) in figures.items()
    ]
    low, middle, high = np.quantile(measured[kept & (truth < SHARP_BELOW)], [0.1, 0.5, 0.9])
    facts = {
        "sharp": f"crops blurred by {LEAST} to {SHARP_BELOW} px are measured as {middle:.2f} px in the median "
        f"({low:.2f} to {high:.2f})",
        "sharp_median": f"{middle:.2f} px",
        "sharp_range": f"{low:.2f} to {high:.2f}",
        "plain": f"{(~kept).sum()} of {len(found)}",
    }
    title = f"crops blurred by {SHARP_BELOW} px and more"
    return Report({title: figures, "columns": COLUMNS}, {"errors": Table(title, [title, *COLUMNS], rows)}, facts)


def _figures(errors: list[float]) -> tuple[int, float, float, float]:
    """As COLUMNS."""
    size = np.abs(errors)
    return len(errors), float(np.median(errors)), float(np.median(size)), float(np.quantile(size, 0.9))
