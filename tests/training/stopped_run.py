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
from training import trainer

if __name__ == "__main__":
    engine = FakeEngine()
    engine.on_step = lambda step: os.kill(os.getpid(), int(sys.argv[2])) if step == 6 else None
    with patch.object(trainer, "open_telescope", lambda _: engine):
        trainer.train(config(Path(sys.argv[1])))
