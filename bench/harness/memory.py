"""Memory and CPU time of a process, from /proc (Linux), and the growth of memory over time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

KIB, MIB = 2**10, 2**20


def rss(pid: int, field: str = "VmRSS") -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * KIB


def peak_rss(pid: int) -> int:
    """The highest resident bytes of a process since its start or since `forget_peak`."""
    return rss(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its child processes so far."""
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in tree(pid)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")  # utime, stime


def tree(pid: int) -> Iterator[int]:
    """The process and its child processes."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield from tree(int(child))


def growth(samples: Sequence[int], *, warm_up: float = 0.4) -> float:
    """Growth of memory after the warm-up in bytes per sample: the median of all slopes (Theil-Sen).

    Caches and the allocator's arenas grow in a few steps, which hardly change the median; a leak changes all.
    """
    settled = np.array(samples[int(warm_up * len(samples)) :], float)
    first, last = np.triu_indices(len(settled), 1)
    return float(np.median((settled[last] - settled[first]) / (last - first)))
