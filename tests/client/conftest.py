"""The servers of `tests/app`, for the client's tests."""

from tests.app.conftest import fake_store, server, start_server

__all__ = ["fake_store", "server", "start_server"]
