"""Recognisers on every core: their processes."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from tests.app.process import wait_until
from tests.conftest import REPOSITORY

KILLED = """
import multiprocessing, os, signal
import numpy as np
from training.calibration.readers import shared_readers
if __name__ == "__main__":
    with shared_readers(["tesseract"], ["latin"]) as readers:
        readers["tesseract"].read([np.full((32, 100, 3), 255, np.uint8)])
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not which("tesseract"), reason="Tesseract is not installed: apt-get install tesseract-ocr")
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_a_killed_parent_leaves_no_processes(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with (tmp_path / "processes.txt").open("w+") as said:
        subprocess.run([sys.executable, str(script)], env=environment, stdout=said, check=False)
        said.seek(0)
        processes = [Path("/proc", number, "exe") for number in said.read().split()]
    assert processes
    wait_until(lambda: not any(process.exists() for process in processes), 20)
