"""The rate limit of one API key: requests in flight, and images a second with a burst.

The rate is a token bucket. A request needs one token to enter and pays for its other images when it ends. The
bucket may be in debt then; a request that comes too early is refused with the time to wait.
"""

import math
import time
from collections.abc import Callable

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

    def enter(self, *, wait_s: int) -> None:
        """Begin a request. wait_s: seconds until one in flight is predicted to end; becomes Retry-After.

        Raises RateLimited.
        """
        if self._in_flight >= self._max_concurrency:
            raise _refusal(f"The API key has {self._in_flight} requests in flight, its limit", wait_s)
        self._refill()
        if self._rate_per_s and self._tokens < 1:
            raise _refusal(
                f"The API key has used up its {self._rate_per_s:g} images a second",
                math.ceil((1 - self._tokens) / self._rate_per_s),
            )
        self._tokens -= 1
        self._in_flight += 1

    def leave(self, *, images: int) -> None:
        """End a request that held so many images."""
        self._in_flight -= 1
        self._tokens -= max(0, images - 1)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate_per_s)
        self._counted_at = now


def _refusal(reason: str, retry_after_s: int) -> RateLimited:
    return RateLimited(f"{reason}; try again in {retry_after_s} s.", retry_after_s=retry_after_s)
