"""A service in a process of its own, as a user runs it, on a free port; its memory and CPU time (Linux)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
KIB, MIB = 2**10, 2**20
# Not auto, which takes Paddle where there is a GPU.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TELESCOPE_RUNTIME": "openvino"}


class Process:
    """A started service; its stderr is read all the time, so that it never waits for a reader."""

    def __init__(
        self,
        *arguments: str,
        program: str = "app",
        command: Sequence[str] = (),
        folder: str | Path = ROOT,
        **environment: str,
    ) -> None:
        """program: a module with a command `serve`. command: in its place, an installed program."""
        self.popen = subprocess.Popen(
            [*(command or (sys.executable, "-m", program)), "serve", "--port", "0", *arguments],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | environment,
        )
        self.pid = self.popen.pid
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr
        self.lines.extend(self.popen.stderr)

    def url(self) -> str:
        """The address, as soon as the log names it. Raises RuntimeError with the log if the service has ended."""
        wait_until(lambda: self._address() or self.popen.poll() is not None, 120)
        if not (address := self._address()):
            self.wait()
            raise RuntimeError(f"the service ended before it listened:\n{''.join(self.lines)}")
        return address

    def _address(self) -> str:
        found = re.search(r"http://[\d.]+:\d+", "".join(list(self.lines)))
        return found.group() if found else ""

    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def wait(self) -> int:
        code = self.popen.wait(60)
        self._reader.join(60)
        assert not self._reader.is_alive(), "another process still holds its stderr"
        assert self.popen.stderr
        self.popen.stderr.close()
        return code

    def kill(self) -> None:
        """End the process and its child processes at once."""
        for pid in list(tree(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()


@contextmanager
def served(**settings: str) -> Iterator[Process]:
    """A service that is ready at the start of the block and is killed at its end."""
    process = Process(TELESCOPE_DRAIN_GRACE_S="0", **settings)
    try:
        url = process.url()
        wait_until(lambda: ready(url), 120, every_s=0.02)
        yield process
    finally:
        process.kill()


def wait_until(condition: Callable[[], object], seconds: float = 10, *, every_s: float = 0.002) -> None:
    """Return as soon as the condition holds; raise TimeoutError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the condition did not come true in {seconds:g} s")
        time.sleep(every_s)


def scraped(url: str) -> dict[str, float]:
    """The samples of `/metrics`, by name and labels."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def total(url: str, metric: str) -> float:
    """The sum of a metric over its labels."""
    return sum(value for name, value in scraped(url).items() if name.partition("{")[0] == metric)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def rss(pid: int, field: str = "VmRSS") -> int:
    """Resident bytes of a process; `VmHWM` is the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * KIB


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
