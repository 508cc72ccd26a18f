"""From words gained and lost to the rule of `mode=auto`: the simplest there is, two limits.

    gains of each recogniser at each blur and noise -> fit -> Rule(min_blur, max_noise)

A rule is taken when each recogniser gains by it over everything, by one standard error at least, and loses in no
subset more than HARM or one standard error. Of those, the one that gains most in the mean of the recognisers; and
none at all unless it also gains on words that it was not chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from app.judge import Rule

HARM = 0.3  # points; what the project allows
FOLDS = 5
BINS = 10
NEVER = Rule(min_blur=math.inf, max_noise=math.inf)
_BLUR_SHARES = np.arange(0, 1, 0.05)  # of the crops, below the limits that are tried
_NOISE_SHARES = (0.25, 0.5, 0.75, 0.9)
Grid = npt.NDArray[np.float64]  # (subsets, words)
Chosen = npt.NDArray[np.bool_]  # (subsets, words)


@dataclass(frozen=True, eq=False)
class Samples:
    """All (subsets, words). gains: by recogniser; 1 where only SR was read right, -1 where only the plain crop."""

    blur: Grid
    noise: Grid
    gains: Mapping[str, Grid]

    def chosen(self, rule: Rule) -> Chosen:
        """Which crops the rule super-resolves, as `Judge.decide` does."""
        return (self.blur >= rule.min_blur) & (self.noise <= rule.max_noise)

    def of_reader(self, name: str) -> Samples:
        return Samples(self.blur, self.noise, {name: self.gains[name]})

    def of(self, words: npt.NDArray[np.bool_]) -> Samples:
        return Samples(
            self.blur[:, words], self.noise[:, words], {name: gain[:, words] for name, gain in self.gains.items()}
        )


def fit(samples: Samples) -> Rule:
    """The rule for these samples, NEVER where none holds on words left out."""
    left_out = gain(samples, cross_validated(samples)).values()
    if sum(found["points"] for found in left_out) <= 0:
        return NEVER
    return _best(samples)


def cross_validated(samples: Samples) -> Chosen:
    """(subsets, words): what rules choose that were made from the other words."""
    fold = np.arange(samples.blur.shape[1]) % FOLDS
    chosen = np.zeros(samples.blur.shape, bool)
    for number in range(FOLDS):
        chosen[:, fold == number] = samples.of(fold == number).chosen(_best(samples.of(fold != number)))
    return chosen


def _best(samples: Samples) -> Rule:
    blurs = np.quantile(samples.blur[np.isfinite(samples.blur)], _BLUR_SHARES)
    noises = [math.inf, *np.quantile(samples.noise[np.isfinite(samples.noise)], _NOISE_SHARES)]
    best, most = NEVER, 0.0
    for min_blur, max_noise in product(blurs, noises):
        rule = Rule(float(min_blur), float(max_noise))
        chosen = samples.chosen(rule)
        gained = float(np.mean([(g * chosen).mean() for g in samples.gains.values()]))
        if gained > most and all(_harmless(g * chosen) for g in samples.gains.values()):
            best, most = rule, gained
    return best


def _harmless(change: Grid) -> bool:
    """change: (subsets, words) in words gained."""
    points, error = _mean(change.mean(axis=0))
    if points < error:
        return False
    return all(points >= -max(HARM, error) for points, error in map(_mean, change))


def gain(samples: Samples, chosen: Chosen) -> dict[str, dict[str, float]]:
    """By recogniser: points gained over all crops when those chosen are super-resolved, and the standard error."""
    found = {name: _mean((g * chosen).mean(axis=0)) for name, g in samples.gains.items()}
    return {name: {"points": round(p, 3), "error": round(e, 3)} for name, (p, e) in found.items()}


def _mean(change: Grid) -> tuple[float, float]:
    """Points and their standard error over words."""
    return 100 * float(change.mean()), 100 * float(change.std() / math.sqrt(len(change)))


def curve(samples: Samples) -> list[dict[str, Any]]:
    """Crops in BINS equal parts by blur: what super-resolving all of a part gains each recogniser there."""
    order = np.argsort(samples.blur, axis=None)
    parts = []
    for part in np.array_split(order, min(BINS, order.size)):
        blur = samples.blur.ravel()[part]
        found = {name: _mean(g.ravel()[part]) for name, g in samples.gains.items()}
        parts.append(
            {
                "blur": [round(float(value), 4) for value in (blur[0], np.median(blur), blur[-1])],
                "gains": {name: {"points": round(p, 2), "error": round(e, 2)} for name, (p, e) in found.items()},
            }
        )
    return parts
