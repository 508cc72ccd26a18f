"""How much one API key may ask for: requests in flight, and images a second with a burst.

The rate is a token bucket. A request needs one token to enter and, once it is known how many images it held, has
paid for each of them when it ends; the bucket may be in debt then, and whoever comes too early is told how long.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import RateLimited


class RateLimit:
    def __init__(
        self, *, max_concurrency: int, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """max_concurrency, rate_per_s: 0 for no limit."""
        self._max_concurrency = max_concurrency or math.inf
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._in_flight = 0
        self._tokens = float(burst)
        self._counted_at = clock()

    @contextmanager
    def request(self, *, images: Callable[[], int], turn_s: Callable[[], int]) -> Iterator[None]:
        """One request, from its first byte to its answer's last.

        images: asked at its end. turn_s: when a request that is in flight now should be done, for Retry-After.
        Raises RateLimited.
        """
        if self._in_flight >= self._max_concurrency:
            raise _refusal(f"The API key has {self._in_flight} requests in flight, its limit", turn_s())
        self._refill()
        if self._rate_per_s and self._tokens < 1:
            raise _refusal(
                f"The API key has used up its {self._rate_per_s:g} images a second",
                math.ceil((1 - self._tokens) / self._rate_per_s),
            )
        self._tokens -= 1
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._tokens -= max(0, images() - 1)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate_per_s)
        self._counted_at = now


def _refusal(what: str, retry_after_s: int) -> RateLimited:
    return RateLimited(f"{what}; try again in {retry_after_s} s.", retry_after_s=retry_after_s)
