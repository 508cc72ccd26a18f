"""Fixtures every package's tests share."""

import os
from pathlib import Path

import hypothesis
import pytest

import model_store  # noqa: F401 - before ONNX Runtime, which it keeps from reporting

# A busy machine is no failure; what may take how long is said where it is meant.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of parity kits and research crops, which does not travel with the repository."""
    folder = Path(os.environ.get("TEXT_TELESCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the parity kit and research crops are not at {folder} (set TEXT_TELESCOPE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make wheels` would fill: wheels and source archives of service and client."""
    from tests.distributions import build, need_an_index

    folder = tmp_path_factory.mktemp("distributions")
    need_an_index(folder)
    return build(folder)
