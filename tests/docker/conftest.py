"""Tests of the project's deployment files with Debian's Prometheus, HAProxy and buildah."""

import shutil

import pytest

from app.settings import Settings
from tests.app.conftest import start
from tests.conftest import REPOSITORY

__all__ = ["start"]  # a fixture
DOCKER = REPOSITORY / "docker"
GIB = 2**30
AT_REST_BYTES = 2 * GIB  # on CPU, once pages of all widths have been read (docs/deployment.md)


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip if one of the programs is missing; all are Debian packages or part of the extra `dev`."""
    missing = [program for program in programs if not find(program)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def held_bytes() -> int:
    """The limit of the bytes that a replica holds for its requests: pictures and bodies."""
    settings = Settings.model_construct()
    return settings.max_queue_bytes + settings.max_upload_bytes


def find(program: str) -> str | None:
    """Path of a program in the virtual environment or on the system."""
    places = f"{REPOSITORY / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=places)
