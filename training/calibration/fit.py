"""Chooses a recogniser's rule from the words that it gains and loses by super-resolution.

    gains of each recogniser with each treatment, at each blur and noise -> fit -> Rule

A rule may be for one recogniser or for several. It is allowed if

- each of its recognisers gains in every script;
- none of them loses more than HARM points, or one standard error, in any group of super-resolved crops: the thirds
  by blur and the groups of heights, script by script.

A rule's gain is the mean over scripts, for the recogniser that gains least. Among the allowed rules within half a
standard error of the largest gain, `fit` takes one with fewest views, and of these the one that leaves most crops
alone. It takes NEVER if rules chosen this way gain nothing on words that they were not chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.calibration import Rule


class Treatment(NamedTuple):
    """As in `Rule`."""

    target_blur: float
    strength: float
    views: int = 1
    strength_of_one: float | None = None


# PP-OCR gains most at less than half of one view's strength, and more of six views at more. A further target blur,
# 2.5 px, gained no more; and with each treatment chance looks like help more often.
TREATMENTS = (
    Treatment(2.0, 0.4),
    Treatment(2.0, 1.0),
    Treatment(2.0, 0.6, 6, 0.4),
    Treatment(2.0, 1.0, 6, 0.4),
    Treatment(2.0, 1.0, 6, 1.0),
)

HARM = 0.3  # points that a group may lose: the project's limit
ALIKE = 0.5  # standard errors within which two gains count as equal
FEW = 20  # crops; a smaller group is not tested for harm
FOLDS = 5
BINS = 8
NEVER = Rule(min_blur=math.inf, max_noise=math.inf, target_blur=2.0, strength=1.0)
_BLUR_SHARES = np.arange(0, 1, 0.05)  # quantiles of blur that are tried as limits
_NOISE_SHARES = (0.5, 0.75, 0.9)  # quantiles of noise
_HEIGHT_GROUPS = ((0, 20), (20, 40), (40, 1000))  # pixels
Floats = npt.NDArray[np.float64]  # (crops,)
Chosen = npt.NDArray[np.bool_]  # (crops,)


@dataclass(frozen=True, eq=False)
class Samples:
    """Crops with the gain of reading them super-resolved.

    word: number of the crop's word. gains: by recogniser and treatment; 1: only the super-resolved crop was read
    right, -1: only the plain one.
    """

    word: npt.NDArray[np.int_]
    script: npt.NDArray[np.str_]  # "latin", digits and punctuation among it, or "chinese"
    height: Floats
    blur: Floats
    noise: Floats
    gains: Mapping[str, Mapping[Treatment, Floats]]

    def chosen(self, rule: Rule) -> Chosen:
        """True for the crops that the rule super-resolves, as `Rule.finding` decides."""
        return (self.blur >= rule.min_blur) & (self.noise <= rule.max_noise)

    def gained(self, reader: str, rule: Rule) -> Floats:
        """Gain of each crop by the rule."""
        return self.gains[reader][treatment(rule)] * self.chosen(rule)

    def of_readers(self, *names: str) -> Samples:
        return replace(self, gains={name: self.gains[name] for name in names})

    def where(self, wanted: Chosen) -> Samples:
        gains = {
            reader: {treatment: values[wanted] for treatment, values in by_treatment.items()}
            for reader, by_treatment in self.gains.items()
        }
        return Samples(
            self.word[wanted],
            self.script[wanted],
            self.height[wanted],
            self.blur[wanted],
            self.noise[wanted],
            gains,
        )


def treatment(rule: Rule) -> Treatment:
    return Treatment(rule.target_blur, rule.strength, rule.views, rule.strength_of_one)


def groups(chosen: Chosen, script: npt.NDArray[np.str_], blur: Floats, height: Floats) -> Iterator[Chosen]:
    """The groups that are tested for harm: each script's chosen crops in thirds by blur, and by height."""
    for name in np.unique(script):
        own = chosen & (script == name)
        if own.sum() >= 3 * FEW:
            low, high = np.quantile(blur[own], [1 / 3, 2 / 3])
            yield own & (blur < low)
            yield own & (blur >= low) & (blur < high)
            yield own & (blur >= high)
        for least, most in _HEIGHT_GROUPS:
            group = own & (height >= least) & (height < most)
            if group.sum() >= FEW:
                yield group


def fit(samples: Samples) -> Rule:
    """The rule for these samples, with its points on words left out; NEVER if it gains nothing there."""
    gained, chosen = cross_validated(samples)
    if not chosen.any() or sum(float(values.mean()) for values in gained.values()) <= 0:
        return NEVER
    points = min(100 * float(own[chosen].mean()) for own in gained.values())  # of the recogniser that gains least
    best = _best(samples)
    return best if best.never else replace(best, points=round(points, 2))


def cross_validated(samples: Samples) -> tuple[dict[str, Floats], Chosen]:
    """Gains by recogniser, and the chosen crops, each crop under the rule that was made without its word."""
    gained = {reader: np.zeros(len(samples.word)) for reader in samples.gains}
    chosen = np.zeros(len(samples.word), bool)
    fold = samples.word % FOLDS
    for number in range(FOLDS):
        rule, left_out = _best(samples.where(fold != number)), fold == number
        if rule.never:
            continue
        chosen |= left_out & samples.chosen(rule)
        for reader, values in gained.items():
            values[left_out] = samples.gained(reader, rule)[left_out]
    return gained, chosen


def _best(samples: Samples) -> Rule:
    blurs = [0.0, *np.quantile(samples.blur, _BLUR_SHARES[1:])]
    noises = [math.inf, *np.quantile(samples.noise, _NOISE_SHARES)]
    scripts = [samples.script == script for script in np.unique(samples.script)]
    allowed: list[tuple[float, float, Rule]] = []  # gain, its standard error
    for min_blur, max_noise in product(blurs, noises):
        chosen = samples.chosen(replace(NEVER, min_blur=float(min_blur), max_noise=float(max_noise)))
        tested = list(groups(chosen, samples.script, samples.blur, samples.height))
        for one in TREATMENTS:
            gains = [by_treatment[one] for by_treatment in samples.gains.values()]
            by_script = [[spread((g * chosen)[script]) for script in scripts] for g in gains]
            gain, error = min(map(over_scripts, by_script))
            if gain <= 0 or min(mean for means in by_script for mean, _ in means) < 0:
                continue
            if all(harmless(g[group]) for g in gains for group in tested):
                limits = round(float(min_blur), 2), float(max_noise)
                rule = Rule(*limits, **one._asdict())
                allowed.append((gain, error, rule))
    if not allowed:
        return NEVER
    most, error, _ = max(allowed, key=lambda found: found[0])
    as_good = [(gain, rule) for gain, _, rule in allowed if gain >= most - ALIKE * error]
    return max(as_good, key=lambda found: (-found[1].views, found[1].min_blur, found[0]))[1]


def over_scripts(means: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean of the means, and its standard error."""
    gains, errors = zip(*means, strict=True)
    return float(np.mean(gains)), math.hypot(*errors) / len(errors)


def spread(values: Floats) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def harmless(gains: Floats) -> bool:
    mean, error = spread(gains)
    return 100 * mean >= -max(HARM, 100 * error)


def gain(gained: Mapping[str, Floats], word: npt.NDArray[np.int_]) -> dict[str, dict[str, float]]:
    """Points gained over all crops by each recogniser, and their standard error over words."""
    found = {}
    for reader, values in gained.items():
        by_word = np.bincount(word, weights=values) / np.maximum(np.bincount(word), 1)
        error = float(by_word[np.unique(word)].std() / math.sqrt(len(np.unique(word))))
        found[reader] = {"points": round(100 * float(values.mean()), 2), "error": round(100 * error, 2)}
    return found


def curve(samples: Samples, rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    """Points gained by each recogniser's own treatment, in BINS parts of equally many crops by blur."""
    order = np.argsort(samples.blur)
    parts = []
    for part in np.array_split(order, min(BINS, order.size)):
        found: dict[str, Any] = {}
        for reader, by_treatment in samples.gains.items():
            rule = rules[reader]
            values = by_treatment[treatment(rule)][part]
            found[reader] = {
                "points": round(100 * float(values.mean()), 2),
                "error": round(100 * float(values.std()) / math.sqrt(len(values)), 2),
            }
        blur = samples.blur[part]
        edges = (blur[0], np.median(blur), blur[-1])
        parts.append({"blur": [round(float(edge), 3) for edge in edges], "gains": found})
    return parts
