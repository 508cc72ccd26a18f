"""Services in front of runtimes that misbehave."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.app.conftest import Server, fake_store, start
from tests.reliability.faults import FaultyRuntime

__all__ = ["fake_store", "start"]  # fixtures
Serve = Callable[..., Server]


@pytest.fixture
def serve(fake_store: Path) -> Iterator[Serve]:
    """serve(runtime, max_queue_windows=64, ...): a service of the test's own."""
    running: list[Server] = []

    def begin(runtime: FaultyRuntime | None = None, **settings: Any) -> Server:
        running.append(Server(Settings(model_store=fake_store, **settings), runtime or FaultyRuntime()))
        return running[-1]

    yield begin
    for server in running:
        server.stop()
