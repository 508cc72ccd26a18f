"""A real server on a loopback port in front of a fake predictor, and a real client."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from app.imaging.encode import encode
from app.imaging.quality_gate import QualityGate
from app.main import create_app
from app.server.server import uvicorn_config
from app.serving.loading import LoadedModel
from app.serving.registry import Load
from app.settings import Settings
from model_store import BUNDLED
from model_store.manifest import PixelSpec
from model_store.pixels import Rgb
from model_store.store import Artefact, ModelStore
from tests.app.fakes import FakeRuntime, fake_predictor
from tests.app.process import Process, wait_until

SPEC = PixelSpec(height=16, width=64, scale=2)


@pytest.fixture(scope="session")
def fake_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one artefact, for tests whose predictor is a fake."""
    staging = tmp_path_factory.mktemp("staging")
    (staging / "onnx").mkdir()
    (staging / "onnx" / "model.onnx").write_bytes(b"not a network")
    root = tmp_path_factory.mktemp("store")
    ModelStore(root).publish(
        staging, name="tbsrn", pixels=SPEC, training={}, metrics=[], licence="none", git_commit="none"
    )
    return root


@pytest.fixture(scope="session")
def bundled() -> Artefact:
    """A model as it is shipped."""
    return ModelStore(BUNDLED).resolve("tbsrn:1")


class Server:
    """A running service; `runtime` steers its predictor."""

    def __init__(
        self,
        settings: Settings,
        runtime: FakeRuntime,
        gate: QualityGate | None = None,
        *,
        loaded: Sequence[LoadedModel] = (),
        load: Load | None = None,
    ) -> None:
        """loaded, load: the models to begin with and how others are opened, where one in front of `runtime` does
        not do."""
        self.runtime = runtime
        if not loaded:
            predictor = fake_predictor(runtime, spec=SPEC, batch_sizes=settings.batch_sizes)
            artefact = ModelStore(settings.model_store).resolve("tbsrn")
            loaded = [LoadedModel(artefact, predictor, gate or QualityGate())]
        self.app = create_app(settings, loaded, load)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn_config(self.app))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def post(self, *images: bytes, query: str = "", **kwargs: Any) -> httpx.Response:
        files = [("image", (f"{i}.png", data)) for i, data in enumerate(images)]
        return self.client.post(f"/v1/super-resolve{query}", files=files, **kwargs)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value; without labels the sum over them."""
        return sum(
            float(sample.value)
            for family in self.app.state.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def stop(self) -> None:
        self.runtime.gate.set()
        self.client.close()
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def server(fake_store: Path) -> Iterator[Server]:
    """The default service, shared by the tests of a module."""
    running = Server(Settings(model_store=fake_store), FakeRuntime())
    yield running
    running.stop()


@pytest.fixture
def start_server(fake_store: Path) -> Iterator[Callable[..., Server]]:
    """Services with settings of their own: start_server(max_queue_windows=64, ...)."""
    running: list[Server] = []

    def start(gate: QualityGate | None = None, **settings: Any) -> Server:
        running.append(Server(Settings(model_store=fake_store, **settings), FakeRuntime(), gate))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Processes of a test's own: start("--port", "1", TELESCOPE_...="..."); ended with the test, come what may."""
    processes: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        processes.append(Process(*arguments, **environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def picture(colour: tuple[int, int, int] = (200, 120, 40), *, height: int = 16, width: int = 64) -> Rgb:
    return np.full((height, width, 3), colour, np.uint8)


def png(colour: tuple[int, int, int] = (200, 120, 40), *, height: int = 16, width: int = 64) -> bytes:
    return encode(picture(colour, height=height, width=width), "png")


def assert_reconciled(server: Server) -> None:
    """received = sum of outcomes + in progress, for requests and for images."""
    for kind in ("requests", "images"):
        received = server.metric(f"telescope_{kind}_received_total")
        ended = server.metric(f"telescope_{kind}_total")
        assert received == ended + server.metric(f"telescope_{kind}_in_progress")
        assert received > 0
    assert server.metric("telescope_decisions_total") == server.metric("telescope_images_total", outcome="ok")
