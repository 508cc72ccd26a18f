"""A server in a separate process, with its CPU time and memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.harness.memory import peak_rss, rss
from tests.app.process import Process, ready, wait_until

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Served:
    """`with Served(...) as server`: the server is ready at the start of the block and is killed at its end."""

    def __init__(self, *arguments: str, program: str = "app", **settings: str) -> None:
        self._process = Process(*arguments, program=program, TELESCOPE_DRAIN_GRACE_S="0", **settings)

    def __enter__(self) -> Self:
        try:
            self.url = self._process.url()
            wait_until(lambda: ready(self.url), 120, every_s=0.05)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pid in list(_tree(self._process.popen.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far, including child processes."""
        return sum(map(_cpu_s, _tree(self._process.popen.pid)))

    @property
    def rss(self) -> int:
        return rss(self._process.popen.pid)

    @property
    def peak_rss(self) -> int:
        """The highest resident memory in bytes since `forget_peak`."""
        return peak_rss(self._process.popen.pid)

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.popen.pid}/clear_refs").write_text("5")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return TICK_S * (int(fields[11]) + int(fields[12]))  # utime, stime
