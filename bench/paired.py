"""The gain of a change, with a 95 % interval, from the same words read before and after it.

    difference(before, after) -> points gained, interval over the words, words fixed and broken

The interval resamples words, each with all its pictures: eight pictures of one word do not count as eight words.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
Right = npt.NDArray[np.bool_]  # (subsets, words) or (words,)


@dataclass(frozen=True)
class Difference:
    """points: of 100 words, more read right after than before. low, high: its 95 % interval.

    p: of McNemar's exact test, the probability that `fixed` and `broken` differ at least this much by chance. The
    test takes pictures for independent, so for several subsets together use the interval.
    """

    points: float
    low: float
    high: float
    fixed: int
    broken: int
    p: float


def difference(before: Right, after: Right, *, seed: int = 0) -> Difference:
    fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
    change = np.atleast_2d(after.astype(float) - before.astype(float)).mean(axis=0)  # (words,)
    chosen = np.random.default_rng(seed).integers(len(change), size=(RESAMPLES, len(change)))
    low, high = np.percentile(100 * change[chosen].mean(axis=1), [2.5, 97.5])
    return Difference(100 * float(change.mean()), float(low), float(high), fixed, broken, mcnemar(fixed, broken))


def mcnemar(fixed: int, broken: int) -> float:
    """Two-sided exact p of an at least equally uneven result of fair coin tosses; 1 if nothing changed."""
    changed, fewer = fixed + broken, min(fixed, broken)
    return min(1.0, 2 * float(sum(comb(changed, k) for k in range(fewer + 1)) / 2**changed))
