"""Fixtures every package's tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of parity kits and research crops, which does not travel with the repository."""
    folder = Path(os.environ.get("TEXT_TELESCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the parity kit and research crops are not at {folder} (set TEXT_TELESCOPE_SHARED)")
    return folder
