"""Each call of docs/api.md runs as printed, against a service on another port."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.conftest import Server
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

BLOCKS = re.findall(
    r"^```(bash|python)\n(.*?)^```", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL
)
PATHS = re.findall(r"localhost:8000(/[\w/-]*)", " ".join(code for _, code in BLOCKS))


def test_the_calls_reach_each_form() -> None:
    assert {"/v1/super-resolve", "/predict/sr_system", "/image-super-resolution"} <= set(PATHS)


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_a_call_runs_as_printed(server: Server, tmp_path: Path, language: str, code: str) -> None:
    if "curl" in code and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    code = code.replace("localhost:8000", server.url.removeprefix("http://"))
    code = code.replace("curl ", "curl --silent --show-error --fail ")
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "curl" not in code or done.stdout or (tmp_path / "sr.png").read_bytes().startswith(b"\x89PNG")
