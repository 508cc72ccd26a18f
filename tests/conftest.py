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


# Groups of tests that take longest, and begin: then all processes of pytest-xdist end at about the same time.
LONGEST = (
    "docker",
    "tests/test_readme.py",
    "distributions",
    "tests/training/test_end_to_end.py",
    "tests/reliability/test_process.py",
    "tests/app/bulk/test_kill.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist would begin with the groups of most tests


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist's own hook, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process of pytest-xdist run all tests that share expensive fixtures, such as a module."""
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(REPOSITORY)
    if path.is_relative_to("tests/docker"):
        return "docker"
    if "dist" in getattr(item, "fixturenames", ()):
        return "distributions"
    return str(path)


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
