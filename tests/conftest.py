"""Fixtures every package's tests share."""

import gc
import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
import slipcover

import model_store.optional  # before ONNX Runtime, which the package keeps from reporting

# No time limit for an example, as a busy machine is no failure. Tests that check a time set their own limit.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
# While it counts lines, slipcover executes our modules. Functions keep their counters: taking them out would look
# into the variables of all running functions, and so keep these alive until the next collection of garbage.
model_store.optional.OURS.add("slipcover")
slipcover.Slipcover.deinstrument_seen = lambda self: None
REPOSITORY = Path(__file__).parents[1]


# The slowest modules, which run first: then all processes of pytest-xdist end at about the same time.
LONGEST = (
    "docker/test_images.py",
    "test_readme.py",
    "bench/test_all.py",
    "training/test_end_to_end.py",
    "reliability/test_process.py",
    "app/bulk/test_kill.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist would begin with the modules of most tests


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported by now stays: later collections of garbage need not look at these million objects again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {REPOSITORY / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


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
