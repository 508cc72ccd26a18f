"""Trains with the fake engine, and sends itself a signal in the middle of step 6.

    python -m tests.training.stopped_run OUT NUMBER

A process of its own: libraries that other tests load change what a signal meets in theirs.
"""

import os
import sys
from pathlib import Path
from unittest.mock import patch

from tests.training.fake_engine import FakeEngine
from tests.training.test_trainer import config
from training import train as command

if __name__ == "__main__":
    engine = FakeEngine()
    engine.on_step = lambda step: os.kill(os.getpid(), int(sys.argv[2])) if step == 6 else None
    with patch.object(command, "open_telescope", lambda _: engine):
        command.train(config(Path(sys.argv[1])))
