"""The servers of `tests/app`, for the client's tests."""

from collections.abc import Iterator

import pytest

from tests.app.conftest import fake_store, server, start_server
from tests.app.process import Process, ready, wait_until

__all__ = ["fake_store", "server", "start_server"]


@pytest.fixture(scope="package")
def url() -> Iterator[str]:
    """The address of a service with the bundled model, in a process of its own."""
    process = Process()
    wait_until(lambda: ready(process.url()), 60)
    yield process.url()
    process.kill()
