"""The error of `model_store/blur.py` on rendered text of known blur, by script, height, noise and compression.

    python -m bench blur --out blur
    python -m bench blur --fit            # fits the coefficients again, to other pictures than the report's

    text -> rendered with a known Gaussian -> clean | noisy | JPEG -> estimate -> error

An error is the ratio of the estimate to the truth, less one: +10 % is a blur measured a tenth too large. `--fit`
minimises the absolute error, so that one script without glyphs in some font does not dominate the fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_store.blur import estimate, measured_plane, quantities, terms
from model_store.pixels import Rgb
from training.calibration.command import typed_command
from training.calibration.rendered import WORDS, Damage, damaged, fonts, render
from training.data.crops import SEED
from training.record import machine

HEIGHTS = (10, 12, 16, 24, 32, 48, 64)
LEAST, MOST_SHARE = 0.4, 0.14  # px, and of the height: beyond that nothing is read
SHARP_BELOW = 0.8  # px: below it a pixel's own width hides the blur
KINDS = ("clean", "noisy", "jpeg")
ROUNDS = 12  # of reweighting
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    script: str
    height: int
    kind: str
    blur: float
    rgb: Rgb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--each", type=int, default=40, help="crops of each script and height (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the pictures (default: %(default)s)")
    parser.add_argument(
        "--fit", action="store_true", help="print coefficients fitted to pictures of the next seed"
    )
    parser.add_argument("--out", type=Path, help="folder for report.json and table.md")


def run(args: argparse.Namespace) -> None:
    """Measure and print; with --out also write the figures."""
    cv2.setNumThreads(1)
    if args.fit:
        print(fit(list(samples(each=2 * args.each, seed=args.seed + 1))))
        return
    report = measure(list(samples(each=args.each, seed=args.seed)))
    table = markdown(report)
    print(table)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (args.out / "table.md").write_text(table + "\n", encoding="utf-8")


def samples(*, each: int, seed: int) -> Iterator[Sample]:
    rng = np.random.default_rng(seed)
    faces = {script: found for script, found in fonts().items() if found}
    with tqdm(total=len(faces) * len(HEIGHTS) * each, desc="render", unit="crop", disable=None) as bar:
        for script, found in faces.items():
            for height in HEIGHTS:
                for number in range(each):
                    yield _sample(script, found, height, KINDS[number % len(KINDS)], rng)
                    bar.update()


def _sample(script: str, faces: Sequence[str], height: int, kind: str, rng: np.random.Generator) -> Sample:
    words = WORDS["latin" if script == "thin" else script]
    word, font = words[int(rng.integers(len(words)))], faces[int(rng.integers(len(faces)))]
    blur = float(np.exp(rng.uniform(np.log(LEAST), np.log(max(0.9, MOST_SHARE * height)))))
    damage = {
        "clean": Damage(noise=rng.uniform(0, 1.5)),
        "noisy": Damage(noise=rng.uniform(2, 8)),
        "jpeg": Damage(noise=rng.uniform(0, 1.5), jpeg=int(rng.integers(45, 90))),
    }[kind]
    rgb = render(word, font=font, height=height, blur=blur, rng=rng)
    return Sample(script, height, kind, blur, damaged(rgb, damage, rng))


def measure(found: Sequence[Sample]) -> dict[str, Any]:
    """Error by script, height and kind; crops sharper than SHARP_BELOW are reported apart."""
    measured = np.array([estimate(sample.rgb).blur for sample in found])
    truth = np.array([sample.blur for sample in found])
    kept = ~np.isnan(measured)
    blurred = kept & (truth >= SHARP_BELOW)
    groups: dict[str, npt.NDArray[np.bool_]] = {"all": blurred}
    for field in ("script", "height", "kind"):
        values = np.array([str(getattr(sample, field)) for sample in found])
        for value in dict.fromkeys(values):
            groups[f"{value} px" if field == "height" else str(value)] = blurred & (values == value)
    sharp = measured[kept & (truth < SHARP_BELOW)]
    return {
        "command": typed_command("bench"),
        "machine": machine(),
        "crops": len(found),
        "plain": int((~kept).sum()),
        "sharp": {"truth": [LEAST, SHARP_BELOW], "measured": [round(float(q), 2) for q in _spread(sharp)]},
        "errors": {name: _errors(measured[group] / truth[group] - 1) for name, group in groups.items()},
    }


def _errors(ratios: Floats) -> dict[str, float]:
    return {
        "crops": len(ratios),
        "median": round(float(np.median(ratios)), 3),
        "median_absolute": round(float(np.median(np.abs(ratios))), 3),
        "ninth_tenth": round(float(np.quantile(np.abs(ratios), 0.9)), 3),
    }


def _spread(values: Floats) -> Floats:
    return np.quantile(values, [0.1, 0.5, 0.9])


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "| crops blurred by 0.8 px and more | number | median error | median of its size | nine tenths within |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["errors"].items():
        cells = (f"{found['median']:+.0%}", f"{found['median_absolute']:.0%}", f"{found['ninth_tenth']:.0%}")
        lines.append(f"| {name} | {found['crops']} | {' | '.join(cells)} |")
    low, middle, high = report["sharp"]["measured"]
    lines += ["", f"Sharper ones (0.4 to 0.8 px) are measured as {middle} px in the median ({low} to {high})."]
    return "\n".join(lines)


def fit(found: Sequence[Sample]) -> str:
    """`COEFFICIENTS` as Python: least absolute error of log blur, by reweighted least squares."""
    table = np.array([terms(*quantities(*_contrast(sample.rgb))) for sample in found])
    truth = np.log([sample.blur for sample in found])
    weights = np.ones(len(truth))
    ridge = 1e-3 * np.eye(table.shape[1])
    for _ in range(ROUNDS):
        weighted = table * weights[:, None]
        solved = np.linalg.solve(table.T @ weighted + ridge, weighted.T @ truth)
        weights = 1 / np.maximum(np.abs(table @ solved - truth), 0.08)
    return "COEFFICIENTS = (" + ", ".join(f"{value:.8f}" for value in solved) + ")"


def _contrast(rgb: Rgb) -> tuple[npt.NDArray[np.float32], float]:
    grey, _ = measured_plane(rgb)
    low, high = np.quantile(grey, [0.02, 0.98])
    return grey, max(float(high - low), 1.0)
