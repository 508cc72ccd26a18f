"""Fits the coefficients of the blur estimate, `COEFFICIENTS` of model_store/blur.py.

    python -m training fit-blur

    text -> rendered with a known Gaussian -> clean | noisy | JPEG -> quantities of the estimate -> coefficients

The fit minimises the absolute error of log blur, so that one script without glyphs in some font does not dominate
it. `python -m bench blur` measures the estimate on pictures of another seed. Both use the fonts of the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_store.blur import measured_plane, quantities, terms
from model_store.pixels import Rgb
from training.calibration.rendered import WORDS, Damage, damaged, fonts, render
from training.data.crops import SEED

HEIGHTS = (10, 12, 16, 24, 32, 48, 64)
LEAST, MOST_SHARE = 0.4, 0.14  # px, and of the height: beyond that text is unreadable
KINDS = ("clean", "noisy", "jpeg")
EACH = 80  # crops of each script and height
ROUNDS = 12  # of reweighting
LEAST_ERROR = 0.08  # of log blur: smaller ones do not get larger weights


@dataclass(frozen=True, eq=False)
class Sample:
    """blur: standard deviation in pixels of the crop."""

    script: str
    height: int
    kind: str
    blur: float
    rgb: Rgb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--each", type=int, default=EACH, help="crops of each script and height (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED + 1, help="of the pictures (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    solved = fit(list(samples(each=args.each, seed=args.seed)))
    print("COEFFICIENTS = (" + ", ".join(f"{value:.8f}" for value in solved) + ")")


def samples(*, each: int, seed: int) -> Iterator[Sample]:
    """`each` crops of every script that the fonts have, and every height; a third of each kind."""
    rng = np.random.default_rng(seed)
    faces = {script: found for script, found in fonts().items() if found}
    with tqdm(total=len(faces) * len(HEIGHTS) * each, desc="render", unit="crop", disable=None) as bar:
        for script, found in faces.items():
            for height in HEIGHTS:
                for number in range(each):
                    yield _sample(script, found, height, KINDS[number % len(KINDS)], rng)
                    bar.update()


def fit(found: Sequence[Sample]) -> npt.NDArray[np.float64]:
    """The coefficients (10,) of the least absolute error, by reweighted least squares."""
    table = np.array([terms(*quantities(*_contrast(sample.rgb))) for sample in found])
    truth = np.log([sample.blur for sample in found])
    weights = np.ones(len(truth))
    ridge = 1e-3 * np.eye(table.shape[1])
    for _ in range(ROUNDS):
        weighted = table * weights[:, None]
        solved = np.linalg.solve(table.T @ weighted + ridge, weighted.T @ truth)
        weights = 1 / np.maximum(np.abs(table @ solved - truth), LEAST_ERROR)
    return np.asarray(solved, np.float64)


def errors(found: Sequence[Sample], measured: npt.NDArray[np.float64], *, least: float) -> dict[str, list[float]]:
    """Relative errors of the samples blurred by `least` px and more: of all, by script, height and kind.

    A sample that the estimate takes for a plain ground (nan) does not count.
    """
    groups: dict[str, list[float]] = {"all": []}
    for name in ("script", "height", "kind"):
        groups |= {_group(sample, name): [] for sample in found}
    for sample, blur in zip(found, measured, strict=True):
        if sample.blur >= least and not np.isnan(blur):
            for group in ("all", *(_group(sample, name) for name in ("script", "height", "kind"))):
                groups[group].append(float(blur / sample.blur - 1))
    return {group: values for group, values in groups.items() if values}


def _group(sample: Sample, name: str) -> str:
    return f"{sample.height} px" if name == "height" else str(getattr(sample, name))


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


def _contrast(rgb: Rgb) -> tuple[npt.NDArray[np.float32], float]:
    grey, _ = measured_plane(rgb)
    low, high = np.quantile(grey, [0.02, 0.98])
    return grey, max(float(high - low), 1.0)
