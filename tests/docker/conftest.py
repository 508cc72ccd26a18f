"""Debian's own Prometheus, HAProxy and buildah, and the project's files for them."""

import shutil

import pytest

from tests.app.conftest import start
from tests.conftest import REPOSITORY

__all__ = ["start"]  # a fixture
DOCKER = REPOSITORY / "docker"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where one of the programs is missing; all are Debian packages or come with the extra `dev`."""
    missing = [program for program in programs if not find(program)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def find(program: str) -> str | None:
    """Where a program is: beside this Python, or on the system."""
    places = f"{REPOSITORY / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=places)
