"""The growth of a process's memory over time."""

from collections.abc import Sequence

import numpy as np


def growth(samples: Sequence[int], *, warm_up: float = 0.4) -> float:
    """Growth of memory after the warm-up in bytes per sample: the median of all slopes (Theil-Sen).

    Caches and the allocator's arenas grow in a few steps, which hardly change the median; a leak changes all.
    """
    settled = np.array(samples[int(warm_up * len(samples)) :], float)
    first, last = np.triu_indices(len(settled), 1)
    return float(np.median((settled[last] - settled[first]) / (last - first)))
