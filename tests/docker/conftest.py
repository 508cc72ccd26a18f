"""Debian's own Prometheus, HAProxy and buildah, and the project's files for them."""

import shutil

import pytest

from app.settings import Settings
from tests.app.conftest import start
from tests.conftest import REPOSITORY

__all__ = ["start"]  # a fixture
DOCKER = REPOSITORY / "docker"
GIB = 2**30
AT_REST_BYTES = GIB // 2  # on CPU: `python -m bench capacity`


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where one of the programs is missing; all are Debian packages or come with the extra `dev`."""
    missing = [program for program in programs if not find(program)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def held_bytes() -> int:
    """What a replica may hold for its clients at once: pictures and bodies."""
    settings = Settings.model_construct()
    return settings.max_queue_bytes + settings.max_upload_bytes


def find(program: str) -> str | None:
    """Where a program is: beside this Python, or on the system."""
    places = f"{REPOSITORY / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=places)
