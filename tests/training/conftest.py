"""Fixtures of all tests of training."""

import functools
from collections.abc import Iterator
from importlib import metadata

import pytest

from training import versions


@pytest.fixture(autouse=True, scope="session")
def _installed_packages_are_looked_up_once() -> Iterator[None]:
    """Many commands name them in a record, and each look at all of them takes a third of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "packages_distributions", functools.cache(metadata.packages_distributions))
        yield
