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
from training.calibration.blur import LEAST, errors, samples
from training.data.crops import SEED

OPTIONS: Options = {"each": Value(40, quick=3), "seed": Value(SEED)}
SHARP_BELOW = 0.8  # px: below it a pixel's own width hides the blur
COLUMNS = ("number", "median error", "median of its size", "nine tenths within")


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    found = list(samples(each=args.each, seed=args.seed))
    measured = np.array([estimate(sample.rgb).blur for sample in found])
    rows = []
    for group, own in errors(found, measured, least=SHARP_BELOW).items():
        size = np.abs(own)
        shares = (f"{np.median(own):+.0%}", f"{np.median(size):.0%}", f"{np.quantile(size, 0.9):.0%}")
        rows.append([group, str(len(own)), *shares])
    sharp = [blur for blur, sample in zip(measured, found, strict=True) if sample.blur < SHARP_BELOW]
    low, middle, high = np.nanquantile(sharp, [0.1, 0.5, 0.9])
    facts = {
        "sharp": f"Crops blurred by {LEAST} to {SHARP_BELOW} px are measured as {middle:.2f} px in the median "
        f"({low:.2f} to {high:.2f})."
    }
    title = f"crops blurred by {SHARP_BELOW} px and more"
    return Report({"rows": rows}, {"errors": Table(title, [title, *COLUMNS], rows)}, facts)
