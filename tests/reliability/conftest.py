"""Services in front of runtimes that misbehave."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from model_store.store import ModelStore
from tests.app.conftest import Server, fake_store, start
from tests.app.process import Process, ready, wait_until
from tests.reliability.faults import FaultyRuntime

__all__ = ["fake_store", "start"]  # fixtures
Serve = Callable[..., Server]


@pytest.fixture
def serve(fake_store: Path) -> Iterator[Serve]:
    """serve(runtime, max_queue_windows=64, ...) starts a service for this test, in this process."""
    running: list[Server] = []

    def begin(runtime: FaultyRuntime | None = None, **settings: Any) -> Server:
        running.append(Server(Settings(model_store=fake_store, **settings), runtime or FaultyRuntime()))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


@pytest.fixture
def two_versions(fake_store: Path, tmp_path: Path) -> Path:
    """A model store for this test, with tbsrn:1 and tbsrn:2."""
    root = tmp_path / "store"
    shutil.copytree(fake_store, root)
    first = ModelStore(root).resolve("tbsrn:1")
    ModelStore(root).publish(
        first.path,
        name="tbsrn",
        pixels=first.manifest.pixels,
        training={},
        metrics=[],
        licence="none",
        git_commit="none",
    )
    return root


@pytest.fixture
def launch(start: Callable[..., Process], fake_store: Path) -> Callable[..., Process]:
    """launch(TELESCOPE_...="...", BATCH_S="0.01") runs tests/reliability/fake_service.py, ready to serve."""

    def launch(**environment: str) -> Process:
        environment = {"TELESCOPE_MODEL_STORE": str(fake_store), "TELESCOPE_LOG_LEVEL": "warning"} | environment
        process = start(program="tests.reliability.fake_service", **environment)
        wait_until(lambda: ready(process.url()), 60)
        return process

    return launch
