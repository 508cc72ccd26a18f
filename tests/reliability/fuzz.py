"""What becomes of damaged pictures: read, refused with a word of ours, or (a defect) anything else."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.errors import BadInput
from app.imaging.decode import probe

MAX_PIXELS = 4_000_000  # the service's default


@dataclass
class Fuzzed:
    """Outcomes by name: `read`, one of our errors, or what escaped; the slowest input's CPU seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)
    slowest_s: float = 0

    @property
    def inputs(self) -> int:
        return self.outcomes.total()


def read_all(pictures: Iterable[bytes]) -> Fuzzed:
    fuzzed = Fuzzed()
    for data in pictures:
        since = time.thread_time()  # not the clock on the wall: the machine may be busy
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
    if rgb.shape[:2] != (picture.height, picture.width):  # what was admitted is not what is in memory
        return f"escaped probed {picture}, decoded {rgb.shape}"
    return "read"
