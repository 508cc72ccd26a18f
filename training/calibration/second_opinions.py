"""Chooses for each recogniser the crops that it reads again, super-resolved, and the reading that it keeps.

    words -> crops, plain, and super-resolved -> readings with confidences -> Opinions -> fit -> limits

A crop is read again if the plain reading's confidence is below `below`; the second reading is kept if it is surer
by more than `margin`. Every crop is super-resolved by the target and strength of the recogniser's rule, also a
sharp one: here the confidence, and not the blur, guards against harm.

Allowed are limits by which no script loses words, and no group of crops that are sent loses more than
`training.calibration.fit.HARM` points, or one standard error. Among the allowed limits within half a standard
error of the largest gain, `fit` takes the ones that send fewest crops. The limits for ANY, a recogniser that was
not measured, must be allowed for every measured one, and count by the one that gains least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_store.blur import Estimate, estimate
from model_store.calibration import ANY, Rule, SecondOpinion
from model_store.pixels import Rgb
from training.calibration.cells import Word, crop
from training.calibration.fit import ALIKE, FOLDS, Chosen, Floats, gain, groups, harmless, over_scripts, spread
from training.calibration.measure import Drawn, chunks, draw, script_of
from training.calibration.network import Network
from training.calibration.readers import SharedReader, is_read
from training.calibration.super_resolve import by_rule
from training.readings import Readings

BELOW = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # above, hardly a word is gained
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_ALL = [SecondOpinion(below, margin) for below, margin in product(BELOW, MARGINS)]
NONE = SecondOpinion(below=0.0, margin=0.0)  # sends no crop


@dataclass(frozen=True, eq=False)
class Opinions:
    """One recogniser's readings of crops.

    word: number of the crop's word. right, sure: whether the plain crop is read, and the confidence. second_right,
    second_sure: of the super-resolved crop; not a number where no limits would send it.
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
        kept = self.sent(limits) & (self.second_sure > self.sure + limits.margin)
        return np.where(kept, self.second_right.astype(float) - self.right, 0.0)

    def where(self, wanted: Chosen) -> Opinions:
        return Opinions(*(getattr(self, field.name)[wanted] for field in fields(self)))


def measure(
    network: Network,
    words: Sequence[Word],
    rules: Mapping[str, Rule],
    readers: Mapping[str, SharedReader],
    readings: Readings,
    *,
    draws: int,
    seed: int,
) -> dict[str, Opinions]:
    """By recogniser; `draws` crops of each word, as `training.calibration.measure` draws them."""
    drawn = draw(words, draws=draws, seed=seed)
    found: dict[str, list[list[Any]]] = {name: [] for name in readers}
    with tqdm(total=len(drawn), desc="second opinions", unit="crop", disable=None) as bar:
        for chunk in chunks(drawn):
            plain = [crop(word, cell, seed=seed) for _, word, cell in chunk]
            estimates = [estimate(rgb) for rgb in plain]
            for name, reader in readers.items():
                own = _Reads(reader.for_script(chunk[0][1].script), readings)
                found[name] += own.rows(network, rules[name], chunk, plain, estimates)
            bar.update(len(chunk))
    return {name: Opinions(*map(np.array, zip(*rows, strict=True))) for name, rows in found.items()}


class _Reads:
    """One recogniser."""

    def __init__(self, reader: SharedReader, readings: Readings) -> None:
        self._reader = reader
        self._readings = readings

    def rows(
        self,
        network: Network,
        rule: Rule,
        chunk: Sequence[Drawn],
        plain: Sequence[Rgb],
        estimates: Sequence[Estimate],
    ) -> list[list[Any]]:
        """For each crop the fields of `Opinions`."""
        first = self._read(chunk, plain)
        again = [place for place, (_, sure) in enumerate(first) if sure < BELOW[-1]]
        pictures = by_rule(network, [plain[i] for i in again], [estimates[i] for i in again], rule)
        second = dict(zip(again, self._read([chunk[i] for i in again], pictures), strict=True))
        return [
            [
                number,
                script_of(word),
                float(cell.height),
                estimates[i].blur,
                *first[i],
                *second.get(i, (False, np.nan)),
            ]
            for i, (number, word, cell) in enumerate(chunk)
        ]

    def _read(self, chunk: Sequence[Drawn], pictures: Sequence[Rgb]) -> list[tuple[bool, float]]:
        found = self._readings.read_with_confidence(self._reader, pictures, label=self._reader.name)
        return [
            (is_read(reading.text, word.label), reading.confidence)
            for reading, (_, word, _) in zip(found, chunk, strict=True)
        ]


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
    by_cost = sorted(as_good, key=lambda one: (one.sent, -one.points))
    return next(one.limits for one in by_cost if one.is_harmless())


class _Tried:
    """Limits and their effect. points: mean over scripts, with its error, of the recogniser that gains least.

    least: of the worst script. sent: share of the crops.
    """

    def __init__(self, opinions: Sequence[Opinions], limits: SecondOpinion) -> None:
        self.limits = limits
        self._opinions = opinions
        self._gained = [own.gained(limits) for own in opinions]
        self._sent = [own.sent(limits) for own in opinions]
        self.sent = float(np.mean(self._sent))
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


def report(named: Mapping[str, Opinions], unnamed: Mapping[str, Opinions]) -> dict[str, Any]:
    """The limits of each recogniser that gains, the share of crops that they send, and the points gained.

    named, unnamed: by recogniser, after the treatment of its own rule, and of the rule for ANY.
    """
    found = {name: fit(own) for name, own in named.items()} | {ANY: fit(*unnamed.values())}
    limits = {name: chosen for name, chosen in found.items() if chosen}
    left_out = {name: cross_validated(own)[0] for name, own in named.items()}
    left_out |= dict(zip(map(of_any, unnamed), cross_validated(*unnamed.values()), strict=True))
    used = {name: (own, limits.get(name, NONE)) for name, own in named.items()}
    used |= {of_any(name): (own, limits.get(ANY, NONE)) for name, own in unnamed.items()}
    word = next(iter(named.values())).word
    return {
        "limits": {name: {"below": chosen.below, "margin": chosen.margin} for name, chosen in limits.items()},
        "sent": {name: round(float(own.sent(chosen).mean()), 4) for name, (own, chosen) in used.items()},
        "points_over_plain": {
            "chosen": gain({name: own.gained(chosen) for name, (own, chosen) in used.items()}, word),
            "cross_validated": gain(left_out, word),
        },
    }


def of_any(recogniser: str) -> str:
    """The recogniser's name in the report where it reads by the limits for ANY."""
    return f"{recogniser} as {ANY}"
