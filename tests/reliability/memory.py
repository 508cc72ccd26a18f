"""A process's memory, and its growth over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

KIB, MIB = 2**10, 2**20


def rss(pid: int) -> int:
    """Resident bytes of a process (Linux)."""
    return _status_bytes(pid, "VmRSS")


def peak_rss(pid: int) -> int:
    """The highest resident bytes of a process so far (Linux)."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * KIB


def growth(samples: Sequence[int], *, warm_up: float = 0.4) -> float:
    """Growth of memory after the warm-up in bytes per sample: the median of all slopes (Theil-Sen).

    Caches and the allocator's arenas grow in a few steps, which hardly change the median; a leak changes all.
    """
    settled = np.array(samples[int(warm_up * len(samples)) :], float)
    first, last = np.triu_indices(len(settled), 1)
    return float(np.median((settled[last] - settled[first]) / (last - first)))
