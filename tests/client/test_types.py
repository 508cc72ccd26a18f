"""The types that a user's mypy sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_mypy_knows_the_kind_of_each_result_and_finds_wrong_calls(tmp_path: Path) -> None:
    program = Path(__file__).with_name("typed_program.py")
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(REPOSITORY / "client")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
