"""Decodes damaged pictures: each must be read or refused with one of our errors; anything else is a defect."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.errors import BadInput
from app.imaging.decode import probe

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
        fuzzed.slowest_s = max(fuzzed.slowest_s, time.thread_time() - since)
        fuzzed.outcomes[outcome] += 1
        if outcome.startswith("escaped"):
            fuzzed.escaped.append(f"{outcome}: {data[:200].hex()}")
    return fuzzed


def _read(data: bytes) -> str:
    try:
        picture = probe(data, max_pixels=MAX_PIXELS, min_side_px=4)
        rgb = picture.decode()
    except BadInput as exc:
        return type(exc).__name__
    except Exception as exc:
        return f"escaped {exc!r}"
    if rgb.shape[:2] != (picture.height, picture.width):  # the checked size differs from the decoded size
        return f"escaped probed {picture}, decoded {rgb.shape}"
    return "read"
