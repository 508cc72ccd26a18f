"""The log: one JSON object a line, whichever part of the process has something to say."""

import json
import subprocess
import sys

from tests.conftest import REPOSITORY

CODE = """
import warnings
from app.telemetry.logs import configure_logging
configure_logging("info")
warnings.warn("a picture\\nwith a damaged header")
"""


def test_a_warning_of_a_library_is_a_json_line() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    logged = json.loads(line)
    assert (logged["level"], logged["logger"]) == ("WARNING", "py.warnings")
    assert "with a damaged header" in logged["message"]
