"""The limits on everything that all requests together may hold, over all loaded models."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from app.errors import RequestTooLarge
from app.settings import Settings


class Budget:
    """One limit, and how much of it is in use."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def is_full(self) -> bool:
        return self.used >= self.limit

    def fits(self, amount: int) -> bool:
        return self.used + amount <= self.limit

    def take(self, amount: int) -> None:
        """Use this amount, whether it fits or not."""
        self.used += amount

    def give_back(self, amount: int) -> None:
        self.used -= amount

    @contextmanager
    def lease(self) -> Iterator["Lease"]:
        """The end of the context gives back all that the lease took."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self.give_back(lease.taken)


class Lease:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, amount: int) -> bool:
        """Use this amount if it fits; False if it does not, and nothing is taken then."""
        if not self._budget.fits(amount):
            return False
        self._budget.take(amount)
        self.taken += amount
        return True


class Capacity:
    """windows: inference work of admitted requests that have no result yet.

    decoded_bytes: decoded images of admitted requests. body_bytes: request bodies as they arrive. unsent_bytes:
    responses that their clients have not read yet.
    """

    def __init__(
        self, *, max_windows: int, max_decoded_bytes: int, max_body_bytes: int, max_unsent_bytes: int
    ) -> None:
        self.windows = Budget(max_windows)
        self.decoded_bytes = Budget(max_decoded_bytes)
        self.body_bytes = Budget(max_body_bytes)
        self.unsent_bytes = Budget(max_unsent_bytes)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            max_windows=settings.max_queue_windows,
            max_decoded_bytes=settings.max_queue_bytes,
            max_body_bytes=settings.max_upload_bytes,
            max_unsent_bytes=settings.max_answer_bytes,
        )

    def fits(self, *, windows: int, nbytes: int) -> bool:
        """Whether a request fits now. Raises RequestTooLarge if it does not even fit an idle service."""
        if windows > self.windows.limit or nbytes > self.decoded_bytes.limit:
            raise RequestTooLarge(
                f"The request needs room for {windows} windows and {nbytes} bytes; the service holds at most "
                f"{self.windows.limit} windows and {self.decoded_bytes.limit} bytes. Send it in parts."
            )
        return self.windows.fits(windows) and self.decoded_bytes.fits(nbytes)
