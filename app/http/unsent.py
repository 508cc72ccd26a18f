"""Answers on their way to clients: those that are not read take memory, too."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class UnreadAnswers:
    """Bytes of answers that wait for their clients to take them, over all connections."""

    def __init__(self, *, max_bytes: int, timeout_s: float) -> None:
        """timeout_s: after which a connection is cut off whose client takes nothing (`app/connection.py`)."""
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self.held = 0

    def check_room(self) -> None:
        """Raises Overloaded while no further answer should be made; asked before a body is read."""
        if self.held >= self._max_bytes:
            retry_after_s = math.ceil(self._timeout_s)
            raise Overloaded(
                f"{self.held} bytes of answers wait for clients that do not read them; try again in "
                f"{retry_after_s} s.",
                retry_after_s=retry_after_s,
            )

    @contextmanager
    def sending(self, nbytes: int) -> Iterator[None]:
        self.held += nbytes
        try:
            yield
        finally:
            self.held -= nbytes
