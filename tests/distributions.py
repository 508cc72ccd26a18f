"""Wheels and source archives, built once for all tests, and new environments that they are installed into."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("app", "model_store", "training")  # of the service's distribution


def run(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def need_an_index(folder: Path) -> None:
    """Skip the test if pip cannot download a package into `folder`."""
    download = f"-m pip download --quiet --no-deps --dest {folder}/download tqdm".split()
    if subprocess.run([sys.executable, *download], capture_output=True).returncode:
        pytest.skip("pip cannot download packages here")


def build(folder: Path) -> Path:
    """The folder that `make wheels` would fill. Made of a copy in `folder`: the repository stays as it is."""
    copy, dist = folder / "copy", folder / "dist"
    copy.mkdir()
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    for name in (*PACKAGES, "client", "tests"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    # Four environments with setuptools alone take longer than all the rest; pyproject.toml requires this version.
    held = find_spec("setuptools") and int(version("setuptools").split(".")[0]) >= 77
    isolation = ["--no-isolation"] if held else []
    for source in (copy, copy / "client"):
        run(sys.executable, "-m", "build", *isolation, "--outdir", dist, source)
    return dist


def named(dist: Path, pattern: str) -> Path:
    (found,) = dist.glob(pattern)
    return found


def install(folder: Path, *arguments: str | Path, interpreter: str = sys.executable) -> Path:
    """The folder of programs of a new environment in `folder`; arguments: of `pip install`."""
    run(interpreter, "-m", "venv", "--without-pip", folder)  # a pip of its own takes seconds to make
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-compile", *arguments)
    return folder / "bin"
