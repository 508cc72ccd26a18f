"""`text-telescope serve` in a process of its own, as a user runs it, and programs at a terminal."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bench.harness import process
from bench.harness.process import ENVIRONMENT, ready, scraped, wait_until
from tests.conftest import REPOSITORY

__all__ = ["SOON_READY", "Process", "Terminal", "at_a_terminal", "ready", "scraped", "wait_until"]
# Each batch size takes a second to warm up, and more threads than one are tried in two ways first.
SOON_READY = {"TELESCOPE_BATCH_SIZES": "1", "TELESCOPE_THREADS": "1"}


class Process(process.Process):
    """A started service. That of `app` is ready soon, unless told otherwise."""

    def __init__(self, *arguments: str, program: str = "app", **options: Any) -> None:
        settings = SOON_READY if program == "app" else {}
        super().__init__(*arguments, program=program, **{**settings, **options})


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
            env=ENVIRONMENT | SOON_READY | environment,
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
