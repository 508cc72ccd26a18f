"""The client's wheel, installed with httpx alone into each Python that it is for."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.distributions import install, named, run

pytestmark = pytest.mark.slow
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MAX_INSTALLED_BYTES = 15_000_000  # Pillow alone would be 23 MB
PROGRAM = """
import sys
from text_telescope import TelescopeClient, __version__

with TelescopeClient(sys.argv[1]) as telescope:
    answer = telescope.super_resolve("crop.png")
answer.save("sharp.png")
print(__version__, *sorted({"PIL", "numpy"} & sys.modules.keys()))
try:
    answer.array()
except ImportError as exc:
    print(exc)
"""


def python(version: str) -> str | None:
    """The interpreter of this version, if there is one on this machine."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    for found in (*Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), shutil.which(f"python{version}")):
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)  # and no stub of pyenv, which only names the versions that have one
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_alone_super_resolves_a_file(version: str, dist: Path, url: str, tmp_path: Path) -> None:
    interpreter = python(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} on this machine")
    wheel = named(dist, "text_telescope_client-*.whl")
    programs = install(tmp_path / "venv", wheel, interpreter=interpreter)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise ImportError('the user has an app of their own')\n")
    shutil.copy(REPOSITORY / "examples" / "crops" / "harbour.png", tmp_path / "crop.png")
    told = run(programs / "python", "-W", "error", "-c", PROGRAM, url, folder=tmp_path)
    number, error = told.splitlines()
    assert re.fullmatch(r"\d+\.\d+\.\d+", number)
    assert error == "No module named 'numpy'; run: pip install \"text-telescope-client[numpy]\""
    assert size(tmp_path / "sharp.png") == tuple(2 * side for side in size(tmp_path / "crop.png"))
    files = (tmp_path / "venv" / "lib").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < MAX_INSTALLED_BYTES


def size(png: Path) -> tuple[int, int]:
    header = png.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
