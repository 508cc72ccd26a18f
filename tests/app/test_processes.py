"""Several processes behind one port, as a user runs them."""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from app.server.draining import DrainingServer
from app.settings import Settings
from tests.app.conftest import wait_until
from tests.app.process import Process, neighbouring_ports
from tests.app.test_admin_port import CROP

pytest.importorskip("openvino")
Start = Callable[..., Process]


class Two:
    """A service of two processes, both of them ready."""

    def __init__(self, start: Start, *arguments: str) -> None:
        port = neighbouring_ports(2)
        self.process = start(
            *arguments, TELESCOPE_PROCESSES="2", TELESCOPE_ADMIN_PORT=str(port), TELESCOPE_DRAIN_GRACE_S="0"
        )
        self.url = self.process.url()
        self.admin = [f"http://127.0.0.1:{port + number}" for number in range(2)]
        for url in self.admin:
            wait_until(lambda url=url: listens(url), 60)  # type: ignore[misc]

    def answered(self) -> list[int]:
        """How many pictures, by each process."""
        name = 'telescope_requests_total{outcome="ok",route="/v1/super-resolve"} '
        return [int(float(httpx.get(f"{url}/metrics").text.partition(name)[2].split()[0])) for url in self.admin]

    def pids(self) -> list[int]:
        return [
            int(log["message"].split("[")[1].rstrip("]"))
            for log in self.process.logs()
            if "server process [" in log["message"]
        ]


def listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def two(start: Start) -> Two:
    return Two(start)


def test_connections_are_dealt_out_and_every_answer_is_the_same(two: Two) -> None:
    answers: list[bytes] = []
    while 0 in two.answered():
        assert len(answers) < 64, "the kernel never chose the other process"
        answers += [httpx.post(f"{two.url}/v1/super-resolve", files={"image": CROP}).content for _ in range(4)]
    assert sum(two.answered()) == len(answers)
    assert set(answers) == {answers[0]}
    assert answers[0].startswith(b"\x89PNG")
    two.process.popen.send_signal(signal.SIGTERM)
    assert two.process.wait() == 0
    assert not any(map(listens, two.admin))


def test_a_signal_that_comes_twice_at_once_is_one(two: Two) -> None:
    """A supervisor may send it to every process, and the first passes it on."""
    for pid in (two.process.popen.pid, *two.pids()):
        os.kill(pid, signal.SIGTERM)
    assert two.process.wait() == 0


def test_it_starts_again_on_its_port_at_once(start: Start) -> None:
    port = str(neighbouring_ports(2))
    for _ in range(2):
        two = Two(start, "--port", port)
        with httpx.Client(base_url=two.url) as client:  # a connection that the service will be the one to close
            assert client.get("/readyz").status_code == 200
            two.process.popen.send_signal(signal.SIGTERM)
            assert two.process.wait() == 0


def test_one_that_dies_ends_the_others_after_their_drain(two: Two) -> None:
    os.kill(two.pids()[0], signal.SIGKILL)
    assert two.process.wait() == 128 + signal.SIGKILL
    assert any("the others end" in log["message"] for log in two.process.logs())
    assert any("Finished server process" in log["message"] for log in two.process.logs())
    assert not any(map(listens, two.admin))


def test_they_end_with_the_process_that_started_them(two: Two) -> None:
    two.process.kill()  # and wait until nobody holds its stderr any more
    assert not any(map(listens, two.admin))


def test_a_port_that_another_service_has_is_busy(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        service = start("--port", port, TELESCOPE_PROCESSES="2", TELESCOPE_ADMIN_PORT=str(neighbouring_ports(2)))
        assert service.wait() == 2
    (line,) = service.lines
    assert f"port {port}" in line


def test_a_service_of_several_keeps_others_off_its_port(two: Two, start: Start) -> None:
    port = two.url.rpartition(":")[2]
    for settings in ({}, {"TELESCOPE_PROCESSES": "2", "TELESCOPE_ADMIN_PORT": str(neighbouring_ports(2))}):
        assert start("--port", port, **settings).wait() == 2


def test_a_model_that_cannot_be_loaded_ends_all(start: Start) -> None:
    service = start("--model", "nobody", TELESCOPE_PROCESSES="2", TELESCOPE_ADMIN_PORT=str(neighbouring_ports(2)))
    assert service.wait() == 2
    assert "nobody" in "".join(service.lines)


@pytest.mark.parametrize("ports", [("8000", "0"), ("8001", "8000"), ("8000", "65535")])
def test_ports_that_do_not_suffice_stop_the_start_in_one_sentence(start: Start, ports: tuple[str, str]) -> None:
    service = start("--port", ports[0], TELESCOPE_PROCESSES="2", TELESCOPE_ADMIN_PORT=ports[1])
    assert service.wait() == 2
    (line,) = service.lines
    assert "admin_port" in line


def test_one_whose_predictor_hangs_beyond_hope_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    models = SimpleNamespace(hangs_for_s=61.0)
    app: Any = SimpleNamespace(state=SimpleNamespace(models=models))
    server = DrainingServer(uvicorn.Config(app), app, Settings(restart_after_s=60))
    asyncio.run(server.on_tick(1))
    assert ended == [], "alone, /livez tells of it"
    server._parent = multiprocessing.current_process()
    asyncio.run(server.on_tick(1))
    assert ended == [1]
    models.hangs_for_s = 59.0
    asyncio.run(server.on_tick(2))
    assert ended == [1]
