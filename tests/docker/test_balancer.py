"""The load balancer of the compose profile `scale`, run with Debian's HAProxy in front of two services."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.conftest import fake_store
from tests.app.process import Process, ready, wait_until
from tests.docker.conftest import DOCKER, needs
from tests.docker.prometheus import free_port
from tests.reliability.conftest import launch
from tests.reliability.swarm import ask

__all__ = ["fake_store", "launch"]  # fixtures
pytestmark = needs("haproxy")
Launch = Callable[..., Process]


@pytest.fixture
def replicas(launch: Launch) -> list[Process]:
    return [launch(BATCH_S="0.02", TELESCOPE_DRAIN_GRACE_S="2") for _ in range(2)]


@pytest.fixture
def balancer(replicas: list[Process], tmp_path: Path) -> Iterator[str]:
    """The address of HAProxy with docker/haproxy/haproxy.cfg and these replicas instead of Docker's."""
    servers = [f"server {i} {one.url().removeprefix('http://')}" for i, one in enumerate(replicas)]
    (tmp_path / "replicas.cfg").write_text("\n".join(["backend replicas", *servers, ""]))
    address = f"127.0.0.1:{free_port()}"
    files = ["-f", str(DOCKER / "haproxy" / "haproxy.cfg"), "-f", str(tmp_path / "replicas.cfg")]
    popen = subprocess.Popen(
        ["haproxy", "-db", *files], env={**os.environ, "BIND": address}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: ready(f"http://{address}"), 30)
        yield f"http://{address}"
    finally:
        popen.terminate()
        popen.wait(30)


def test_the_configuration_with_the_replicas_of_the_compose_project_is_valid() -> None:
    command = ["haproxy", "-c", "-f", str(DOCKER / "haproxy")]
    done = subprocess.run(command, env={**os.environ, "BIND": "127.0.0.1:8080"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.slow
def test_no_request_is_lost_while_a_replica_drains_under_load(replicas: list[Process], balancer: str) -> None:
    endings: Counter[str] = Counter()
    before = [_completed(one.url()) for one in replicas]

    async def client(number: int, over: asyncio.Event) -> None:
        while not over.is_set():
            endings[await ask(balancer, number)] += 1

    async def scenario() -> None:
        over = asyncio.Event()
        clients = [asyncio.create_task(client(number, over)) for number in range(16)]
        await asyncio.to_thread(wait_until, lambda: endings.total() > 100, 30)
        replicas[0].popen.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(replicas[0].wait) == 0
        seen = endings.total()
        await asyncio.to_thread(wait_until, lambda: endings.total() > seen + 100, 30)
        over.set()
        await asyncio.gather(*clients)

    asyncio.run(scenario())
    assert set(endings) == {"right"}, endings
    assert _completed(replicas[1].url()) > before[1] + 100
    assert httpx.get(f"{balancer}/balancerz").status_code == 200


@pytest.mark.slow
def test_the_balancer_hides_metrics_and_is_down_when_no_replica_is_ready(
    replicas: list[Process], balancer: str
) -> None:
    assert httpx.get(f"{balancer}/metrics").status_code == 404
    for one in replicas:
        one.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{balancer}/balancerz").status_code == 503, 10)


def _completed(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    name = 'telescope_requests_total{outcome="ok",route="/v1/super-resolve"}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
