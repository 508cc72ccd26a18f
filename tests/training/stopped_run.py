"""Trains with the fake engine in OUT/SIGINT and OUT/SIGTERM, and sends itself that signal in the middle of step 6.

    python -m tests.training.stopped_run OUT

A process of its own: libraries that other tests load change what a signal meets in theirs.
"""

import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from tests.training.fake_engine import FakeEngine
from tests.training.test_trainer import config
from training import train as command


def stopped_by(number: signal.Signals, out: Path) -> None:
    engine = FakeEngine()
    engine.on_step = lambda step: os.kill(os.getpid(), number) if step == 6 else None
    try:
        with patch.object(command, "open_telescope", lambda _: engine):
            command.train(config(out / number.name))
    except SystemExit as ended:
        print(f"{number.name} ended the run with {ended.code}")


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        stopped_by(number, Path(sys.argv[1]))
