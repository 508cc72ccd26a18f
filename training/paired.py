"""The change from one reading of the same words or pages to another, with a 95 % interval.

The interval resamples words, each with all its pictures: eight pictures of one word do not count as eight words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """points: of 100 words or characters. low, high: their 95 % interval."""

    points: float
    low: float
    high: float

    def text(self, digits: int = 1, *, bold: bool = True) -> str:
        """Such as `+1.9 (+1.0 to +2.8)`; in bold if the interval is without 0; `0` if nothing changed."""
        shown = (f"{round(value, digits) + 0.0:+.{digits}f}" for value in (self.points, self.low, self.high))
        text = "{} ({} to {})".format(*shown) if self.points or self.low or self.high else "0"
        return f"**{text}**" if bold and (self.low > 0 or self.high < 0) else text


def difference(change: Floats, weights: Floats | None = None) -> Difference:
    """change: of each word or page, (N,). weights: such as the characters of each page; None: all equal."""
    weights = np.ones(len(change)) if weights is None else weights
    chosen = np.random.default_rng(0).integers(len(change), size=(RESAMPLES, len(change)))
    low, high = np.percentile(100 * change[chosen].sum(axis=1) / weights[chosen].sum(axis=1), [2.5, 97.5])
    return Difference(100 * float(change.sum() / weights.sum()), float(low), float(high))
