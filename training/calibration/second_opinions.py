"""Chooses for each recogniser the crops that it reads again, super-resolved, and the reading that it keeps.

    readings with confidences, of crops plain and after each treatment -> Opinions -> fit -> limits

A crop is read again if the plain reading's confidence is below `below`; the second reading is kept if it is surer
by more than `margin`. Every crop with text is super-resolved, also a sharp one: here the confidence, and not the
blur, guards against harm. So the best treatment may differ from that of the recogniser's rule, and is chosen
together with the limits.

Allowed are limits by which no script loses words, and no group of crops that are sent loses more than
`training.calibration.fit.HARM` points, or one standard error. Among the allowed limits within half a standard
error of the largest gain, `fit` takes those with fewest views, of these the ones of least strength, and of these
the one that gains most. The limits for ANY, a recogniser that was not measured, must be allowed for every measured
one, and count by the one that gains least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.calibration import ANY, SecondOpinion
from training.calibration.fit import (
    ALIKE,
    FOLDS,
    TREATMENTS,
    Chosen,
    Floats,
    gain,
    groups,
    harmless,
    over_scripts,
    spread,
)

BELOW = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # above, hardly a word is gained
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_ALL = [
    SecondOpinion(*limits, **treatment._asdict())
    for limits, treatment in product(product(BELOW, MARGINS), TREATMENTS)
]
NONE = SecondOpinion(below=0.0, margin=0.0)  # sends no crop


@dataclass(frozen=True, eq=False)
class Opinions:
    """One recogniser's readings of crops.

    word: number of the crop's word. right, sure: whether the plain crop is read, and the confidence. second_right,
    second_sure: after each of TREATMENTS, (treatments, crops).
    """

    word: npt.NDArray[np.int_]
    script: npt.NDArray[np.str_]
    height: Floats
    blur: Floats
    right: Chosen
    sure: Floats
    second_right: Chosen
    second_sure: Floats

    def sent(self, limits: SecondOpinion) -> Chosen:
        return self.sure < limits.below

    def gained(self, limits: SecondOpinion) -> Floats:
        """1: read by the second opinion alone; -1: by the plain reading alone."""
        if not limits.below:
            return np.zeros(len(self.word))
        treatment = limits.target_blur, limits.strength, limits.views, limits.strength_of_one
        place = TREATMENTS.index(treatment)  # type: ignore[arg-type]  # all are given
        kept = self.sent(limits) & (self.second_sure[place] > self.sure + limits.margin)
        return np.where(kept, self.second_right[place].astype(float) - self.right, 0.0)

    def where(self, wanted: Chosen) -> Opinions:
        return Opinions(*(getattr(self, field.name)[..., wanted] for field in fields(self)))


def fit(*opinions: Opinions) -> SecondOpinion | None:
    """The limits for the readings of one recogniser, or of several together.

    None if one of them gains nothing on words that the limits were not chosen by.
    """
    return best(*opinions) if cross_validated(*opinions).sum(axis=1).min() > 0 else None


def cross_validated(*opinions: Opinions) -> Floats:
    """Gain of each crop, (recognisers, crops), by the limits that were chosen without its word."""
    fold = opinions[0].word % FOLDS
    gained = np.zeros((len(opinions), len(fold)))
    for number in range(FOLDS):
        limits = best(*(own.where(fold != number) for own in opinions)) or NONE
        gained[:, fold == number] = [own.where(fold == number).gained(limits) for own in opinions]
    return gained


def best(*opinions: Opinions) -> SecondOpinion | None:
    """None if no limits are allowed."""
    found = [limits for limits in map(partial(_Tried, opinions), _ALL) if limits.points > 0 <= limits.least]
    by_points = sorted(found, key=lambda one: -one.points)
    most = next((one for one in by_points if one.is_harmless()), None)
    if most is None:
        return None
    as_good = [one for one in found if one.points >= most.points - ALIKE * most.error]
    gentlest = sorted(as_good, key=lambda one: (one.limits.views, one.limits.strength, -one.points))
    return next(one.limits for one in gentlest if one.is_harmless())


class _Tried:
    """Limits and their effect. points: mean over scripts, with its error, of the recogniser that gains least.

    least: of the worst script.
    """

    def __init__(self, opinions: Sequence[Opinions], limits: SecondOpinion) -> None:
        self.limits = limits
        self._opinions = opinions
        self._gained = [own.gained(limits) for own in opinions]
        self._sent = [own.sent(limits) for own in opinions]
        by_script = [
            [spread(gained[own.script == name]) for name in np.unique(own.script)]
            for own, gained in zip(opinions, self._gained, strict=True)
        ]
        self.points, self.error = min(map(over_scripts, by_script))
        self.least = min(mean for scripts in by_script for mean, _ in scripts)

    def is_harmless(self) -> bool:
        return all(
            harmless(gained[group])
            for own, gained, sent in zip(self._opinions, self._gained, self._sent, strict=True)
            for group in groups(sent, own.script, own.blur, own.height)
        )


def report(opinions: Mapping[str, Opinions]) -> dict[str, Any]:
    """The limits of each recogniser that gains, the share of crops that they send, and the points gained."""
    found = {name: fit(own) for name, own in opinions.items()} | {ANY: fit(*opinions.values())}
    limits = {name: chosen for name, chosen in found.items() if chosen}
    left_out = {name: cross_validated(own)[0] for name, own in opinions.items()}
    left_out |= dict(zip(map(of_any, opinions), cross_validated(*opinions.values()), strict=True))
    used = {name: (own, limits.get(name, NONE)) for name, own in opinions.items()}
    used |= {of_any(name): (own, limits.get(ANY, NONE)) for name, own in opinions.items()}
    word = next(iter(opinions.values())).word
    return {
        "limits": {name: chosen.as_json() for name, chosen in limits.items()},
        "sent": {name: round(float(own.sent(chosen).mean()), 4) for name, (own, chosen) in used.items()},
        "points_over_plain": {
            "chosen": gain({name: own.gained(chosen) for name, (own, chosen) in used.items()}, word),
            "cross_validated": gain(left_out, word),
        },
    }


def of_any(recogniser: str) -> str:
    """The recogniser's name in the report where it reads by the limits for ANY."""
    return f"{recogniser} as {ANY}"
