"""`text-telescope serve` in a process of its own, as a user runs it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import REPOSITORY

# Not auto, which takes Paddle where there is a GPU.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TELESCOPE_RUNTIME": "openvino"}


class Process:
    """A service of its own in a process of its own."""

    def __init__(
        self,
        *arguments: str,
        program: str = "app",
        command: Sequence[str] = (),
        folder: str | Path = REPOSITORY,
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
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr
        self.lines.extend(self.popen.stderr)

    def url(self) -> str:
        wait_until(lambda: self._address() or self.popen.poll() is not None, 60)
        return self._address() or pytest.fail("".join(self.lines))

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
        self.popen.kill()
        self.wait()


class Terminal:
    """A program whose stdout and stderr are a pseudo-terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._fd, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (40, 120))
        self.shown = ""
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            stdout=terminal,
            stderr=terminal,
            env={**ENVIRONMENT, "TELESCOPE_BATCH_SIZES": "1", **environment},
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored below a shell's `&`
        )
        os.close(terminal)

    def read(self, until: str = "") -> str:
        """All that is shown when `until` has been, or at the end."""
        while not until or not re.search(until, self.shown):
            try:
                self.shown += os.read(self._fd, 65536).decode()
            except OSError:  # the program has ended
                break
        return self.shown.replace("\r\n", "\n")

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        os.close(self._fd)


@contextmanager
def at_a_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(*arguments, **environment)
    try:
        yield terminal
    finally:
        terminal.close()


def wait_until(condition: Callable[[], object], seconds: float = 10, *, every_s: float = 0.002) -> None:
    """Return as soon as the condition holds; fail the test when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(every_s)


def scraped(url: str) -> dict[str, float]:
    """The samples of `/metrics`, by name and labels."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
