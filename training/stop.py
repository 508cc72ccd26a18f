"""Turns Ctrl-C and SIGTERM into a flag, so that the training loop stops after its current step."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

INTERRUPTED = 130  # exit code of a program ended by Ctrl-C
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a cluster sends SIGTERM before it reclaims a machine


class StopRequest:
    """While open, the first signal sets `requested`; the second has its usual effect. Main thread only."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
