"""Signals, kills and memory, with the service as a separate process."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.http.api_keys import new_key
from app.imaging.encode import encode
from bench.harness.process import KIB, MIB, rss, total
from model_store.store import ModelStore
from tests.app.conftest import png
from tests.app.process import Process, wait_until
from tests.reliability.growth import growth
from tests.reliability.swarm import activate, ask, ask_all, exchange, post, storm

pytestmark = pytest.mark.slow
Launch = Callable[..., Process]


def test_sigterm_under_load_completes_admitted_requests_and_refuses_new_ones(launch: Launch) -> None:
    process = launch(BATCH_S="0.05", TELESCOPE_BATCH_SIZES="1,2", TELESCOPE_DRAIN_GRACE_S="1")
    url = process.url()

    async def newcomers() -> Counter[str]:
        """One request after the other until the service is unreachable."""
        endings: Counter[str] = Counter()
        while not endings["unreachable"]:
            endings[await ask(url, 5000 + endings.total())] += 1
        return endings

    async def scenario() -> tuple[Counter[str], Counter[str]]:
        asked = asyncio.create_task(ask_all(url, range(100), at_once=100))
        await asyncio.to_thread(wait_until, lambda: total(url, "telescope_admitted_windows") > 80, 30)
        process.popen.send_signal(signal.SIGTERM)
        return await asyncio.gather(asked, newcomers())

    before, later = asyncio.run(scenario())
    assert process.wait() == 0
    assert set(before) <= {"right", "not_ready"}  # some had not been admitted yet
    assert before["right"] > 80
    assert later["not_ready"] > 0
    assert later["mixed"] == 0
    assert later["lost"] <= 1  # a connection that the system had accepted when the listening socket closed


def test_a_service_killed_under_load_serves_again_after_a_restart(launch: Launch) -> None:
    process = launch(BATCH_S="0.05", TELESCOPE_BATCH_SIZES="1,2")
    url = process.url()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, ask_all(url, range(100), at_once=100))
        wait_until(lambda: total(url, "telescope_admitted_windows") > 80, 30)
        process.popen.kill()
        endings = asked.result()
    assert endings["mixed"] == 0
    assert endings["lost"] > 0
    process.wait()
    again = launch()
    assert asyncio.run(ask_all(again.url(), range(100), at_once=16)) == {"right": 100}


@pytest.mark.parametrize("after_s", [0, 0.03])
def test_a_service_killed_while_it_switches_models_leaves_the_store_readable(
    launch: Launch, two_versions: Path, after_s: float
) -> None:
    key, stored = new_key("operator", admin=True)
    environment = {
        "TELESCOPE_MODEL_STORE": str(two_versions),
        "TELESCOPE_API_KEYS": stored.entry(),
        "BATCH_S": "0.01",  # makes the warm-up slow enough to be interrupted
    }
    process = launch(**environment)
    url = process.url()
    assert [activate(url, ref, key) for ref in ("tbsrn:1", "tbsrn:2")] == [200, 200]
    with ThreadPoolExecutor(1) as pool:
        switching = pool.submit(activate, url, "tbsrn:1", key)
        time.sleep(after_s)
        process.popen.kill()
        assert isinstance(switching.exception(), httpx.TransportError)
    process.wait()
    held = ModelStore(two_versions).artefacts()
    assert [artefact.manifest.ref for artefact in held] == ["tbsrn:1", "tbsrn:2"]
    for artefact in held:
        assert artefact.files("onnx"), "the files match the published digests"
    assert asyncio.run(ask(launch(**environment).url(), 1, headers=f"X-API-Key: {key}\r\n")) == "right"


def test_a_hundred_requests_over_the_limits_leave_nothing_in_memory(launch: Launch) -> None:
    process = launch(TELESCOPE_MAX_REQUEST_BYTES="2000000")
    url = process.url()
    chunk = b"186A0\r\n" + b"x" * 100_000 + b"\r\n"
    head = b"POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
    too_much: Sequence[bytes] = (
        post(b"x" * 2_000_001),
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 21,
        post(png(height=3, width=3)),
    )

    async def refused(times: int) -> None:
        for request in too_much:
            for _ in range(times):
                try:
                    response = await exchange(url, request)
                except OSError:  # refused before the whole request was sent
                    continue
                assert response.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 422 ")), response[:100]

    asyncio.run(refused(30))  # allocates memory that later requests reuse
    before = rss(process.popen.pid)
    asyncio.run(refused(100))
    assert rss(process.popen.pid) - before < MIB
    assert total(url, "telescope_requests_received_total") >= 390
    assert total(url, "telescope_body_bytes") == 0


def test_forty_clients_that_read_nothing_hold_no_more_than_the_limit(launch: Launch) -> None:
    process = launch(TELESCOPE_MAX_ANSWER_BYTES="20000000", TELESCOPE_ANSWER_TIMEOUT_S="60")
    url, pid = process.url(), process.popen.pid
    pixels = np.random.default_rng(0).integers(0, 255, (1300, 1300, 3), np.uint8)
    request = post(encode(pixels, "jpeg"))  # a response is 6 MB

    async def refused() -> int:
        """The number of refused requests of forty clients that connect in turn and read only the status."""
        writers, statuses = [], Counter[bytes]()
        for _ in range(40):
            reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"), limit=1000)
            writer.write(request)
            statuses[(await reader.readline()).split()[1]] += 1
            writers.append(writer)
        assert total(url, "telescope_answer_bytes") < 30e6
        held = rss(pid) - before
        for writer in writers:
            writer.transport.abort()
        assert held < 100 * MIB  # forty responses would hold 230
        return statuses[b"429"]

    for _ in range(2):  # allocates memory that later requests reuse
        asyncio.run(exchange(url, request))
    before = rss(pid)
    assert asyncio.run(refused()) > 20
    wait_until(lambda: total(url, "telescope_answer_bytes") == 0, 30)
    assert asyncio.run(ask_all(url, range(20), at_once=4)) == {"right": 20}


async def memory_over(url: str, pid: int, *, rounds: int, requests: int) -> list[int]:
    """Resident bytes after each round of requests; between rounds some clients disconnect."""
    samples = []
    for number in range(rounds):
        tags = range(number * requests, (number + 1) * requests)
        assert await ask_all(url, tags, at_once=8) == {"right": requests}
        await storm(url, 10)
        samples.append(rss(pid))
    return samples


@pytest.mark.parametrize("leak_bytes", [0, 4 * KIB], ids=["as it is", "with a planted leak"])
def test_memory_stays_flat_over_many_requests(launch: Launch, leak_bytes: int) -> None:
    process = launch(LEAK_BYTES=str(leak_bytes), TELESCOPE_BATCH_SIZES="1")
    samples = asyncio.run(memory_over(process.url(), process.popen.pid, rounds=30, requests=40))
    grows = growth(samples) / 40  # bytes a request
    assert (grows > 2 * KIB) == bool(leak_bytes), f"{grows:.0f} bytes a request: {samples}"


def test_the_leak_check_ignores_noise_and_single_steps() -> None:
    noise = np.random.default_rng(0).normal(0, 100 * KIB, 100)
    assert abs(growth([int(x) for x in noise])) < 5 * KIB
    assert abs(growth([0] * 60 + [5 * MIB] * 40)) < 5 * KIB
    assert growth([int(x + i * 20 * KIB) for i, x in enumerate(noise)]) > 15 * KIB
