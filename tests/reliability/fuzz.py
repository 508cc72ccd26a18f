"""Decodes damaged pictures: each must be read or refused with one of our errors; anything else is a defect.

Each is read twice: sizes, pixels and refusals must be the same.

    read_all(mutants(seed=0, inputs=50_000)).escaped     more pictures than the tests read
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from model_store.errors import PictureError
from model_store.pictures import probe
from model_store.pixels import Rgb

MAX_PIXELS = 4_000_000  # the service's default


@dataclass
class Fuzzed:
    """Counts of outcomes (`read`, an error class, `escaped ...`), escaped inputs, CPU seconds of the slowest."""

    outcomes: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)
    slowest_s: float = 0

    @property
    def inputs(self) -> int:
        return self.outcomes.total()


def read_all(pictures: Iterable[bytes]) -> Fuzzed:
    fuzzed = Fuzzed()
    for data in pictures:
        since = time.thread_time()  # CPU time instead of wall time, because the machine may be busy
        outcome = _read(data)
        fuzzed.slowest_s = max(fuzzed.slowest_s, (time.thread_time() - since) / 2)  # it was read twice
        fuzzed.outcomes[outcome] += 1
        if outcome.startswith("escaped"):
            fuzzed.escaped.append(f"{outcome}: {data[:200].hex()}")
    return fuzzed


def _read(data: bytes) -> str:
    first, second = _once(data), _once(data)
    if isinstance(first, str):
        same = isinstance(second, str) and first == second
        return first.split(":")[0] if same else f"escaped once {first}, once {_short(second)}"
    if isinstance(second, str):
        return f"escaped once {_short(first)}, once {second}"
    return "read" if np.array_equal(first, second) else "escaped two decodings with different pixels"


def _once(data: bytes) -> Rgb | str:
    """The pixels, or the refusal: the error's class and message."""
    try:
        picture = probe(data, max_pixels=MAX_PIXELS, min_side_px=4)
        rgb = picture.decode()
    except PictureError as exc:
        return f"{type(exc).__name__}: {exc}"
    except Exception as exc:
        return f"escaped {exc!r}: "
    if rgb.shape != (picture.height, picture.width, 3):  # the checked size differs from the decoded size
        return f"escaped probed {picture.width} x {picture.height}, decoded {rgb.shape}: "
    return rgb


def _short(outcome: Rgb | str) -> str:
    return outcome if isinstance(outcome, str) else f"pixels of {outcome.shape}"
