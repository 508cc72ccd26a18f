"""Clients that leave, at any moment and in any number, cost the others nothing."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.imaging import decode, encode
from tests.app.conftest import Server, png, wait_until
from tests.app.raw import connect
from tests.reliability.conftest import Serve
from tests.reliability.faults import FaultyRuntime
from tests.reliability.swarm import (
    RESET,
    ask,
    ask_all,
    assert_recovered,
    assert_settled,
    post,
    storm,
    tagged,
)

pytestmark = pytest.mark.reliability
Leave = Callable[[], None]


class Client:
    """One that sends what it is told to and leaves when it is told to."""

    def __init__(self, server: Server, sent: bytes) -> None:
        self.connection = connect(server)
        self.connection.sendall(sent)

    def read(self, *, pause_s: float) -> int:
        """How many bytes come until the connection ends, a pause after each MiB."""
        received = 0
        with self.connection:
            while data := self.connection.recv(2**20, socket.MSG_WAITALL):
                received += len(data)
                time.sleep(pause_s)
        return received

    def leave(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()


def cancelled(server: Server) -> bool:
    return server.metric("telescope_requests_total", outcome="cancelled") == 1


@pytest.mark.parametrize("share", [0.2, 0.9], ids=["head", "body"])
def test_a_client_that_leaves_while_sending(serve: Serve, share: float) -> None:
    server, whole = serve(), tagged(0)
    Client(server, whole[: int(share * len(whole))]).leave()
    assert_recovered(server)


@pytest.mark.parametrize(("where", "phase"), [(decode.Probed, "decode"), (encode, "encode")])
def test_a_client_that_leaves_while_its_picture_is_read_or_written(
    serve: Serve, where: Any, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    work = getattr(where, phase)

    def held(*arguments: Any) -> Any:
        inside.set()
        assert go_on.wait(30), "the test forgot to let it go on"
        return work(*arguments)

    server, question = serve(), tagged(7)
    monkeypatch.setattr(decode.Probed, "is_small", lambda *_: False)  # as with a larger one, a thread does it
    monkeypatch.setattr(where, phase, held)
    ran = len(server.runtime.batches)
    client = Client(server, question)
    assert inside.wait(30)
    client.leave()
    wait_until(lambda: cancelled(server))
    assert server.metric("telescope_admitted_windows") == 0
    go_on.set()
    monkeypatch.undo()
    assert_settled(server)
    assert len(server.runtime.batches) - ran == (phase == "encode"), "a picture was computed for nobody"
    assert_recovered(server)


def test_a_client_that_leaves_while_its_batch_runs_or_before(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, batch_sizes=(1,))
    ran = len(runtime.batches)
    runtime.inside.clear()
    runtime.gate.clear()
    running = Client(server, tagged(1))
    assert runtime.inside.wait(30)
    queued = Client(server, tagged(2))
    wait_until(lambda: server.metric("telescope_queue_windows") == 1)
    for client in (queued, running):
        client.leave()
    assert_settled(server)  # before the batch ends
    assert server.metric("telescope_requests_total", outcome="cancelled") == 2
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(asyncio.run, ask(server.url, 3))
        wait_until(lambda: server.metric("telescope_queue_windows") == 1)
        runtime.gate.set()
        assert later.result() == "right"  # and not the answer of the batch that ran before
    assert len(runtime.batches) == ran + 2
    assert_recovered(server)


def test_a_client_that_leaves_while_it_reads_its_answer(serve: Serve, noise: bytes) -> None:
    server = serve()
    client = Client(server, noise)
    assert client.connection.recv(100).startswith(b"HTTP/1.1 200 ")
    client.leave()
    wait_until(lambda: not server._server.server_state.connections)
    assert_recovered(server)


@pytest.fixture(scope="module")
def noise() -> bytes:
    """A question whose answer is larger than what sockets hold."""
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    return post(encode.encode(pixels, "jpeg"))


def test_answers_that_nobody_reads_are_bounded_and_cut_off(serve: Serve, noise: bytes) -> None:
    server = serve(max_answer_bytes=10**6, answer_timeout_s=1)
    idle = Client(server, noise)
    wait_until(lambda: server.metric("telescope_answer_bytes") > 10**6)
    assert server.metric("telescope_requests_in_progress") == 1, "it has not ended before it is read"
    assert asyncio.run(ask(server.url, 1)) == "overloaded"
    wait_until(lambda: not server._server.server_state.connections, 30)
    head = idle.connection.recv(500, socket.MSG_PEEK)
    (length,) = re.findall(rb"content-length: (\d+)", head)
    assert idle.read(pause_s=0) < int(length)
    assert_recovered(server)


def test_a_client_that_reads_slowly_gets_its_whole_answer(serve: Serve, noise: bytes) -> None:
    server = serve(answer_timeout_s=2)
    client, since = Client(server, noise), time.monotonic()
    assert client.read(pause_s=0.35) > 6 * 10**6
    assert time.monotonic() - since > 2
    assert_recovered(server)


def test_a_storm_of_clients_that_send_half_and_vanish(serve: Serve) -> None:
    server = serve()

    async def both() -> dict[str, int]:
        _, endings = await asyncio.gather(
            storm(server.url, 1000), ask_all(server.url, range(1000, 1200), at_once=20)
        )
        return endings

    assert asyncio.run(both()) == {"right": 200}
    wait_until(lambda: not server._server.server_state.connections, 30)
    assert_recovered(server, questions=64)


def test_a_storm_that_comes_while_the_predictor_is_held(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, max_queue_windows=64)
    runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(asyncio.run, ask_all(server.url, range(64), at_once=64))
        wait_until(lambda: server.metric("telescope_admitted_windows") == 64)
        asyncio.run(storm(server.url, 200))
        refused = asyncio.run(ask_all(server.url, range(64, 128), at_once=64))
        assert refused == {"overloaded": 64}
        runtime.gate.set()
        assert held.result() == {"right": 64}
    assert_recovered(server)


def test_bodies_that_drip_end_at_the_deadline_and_hold_nobody_up(serve: Serve) -> None:
    server = serve()
    late = tagged(0, headers="X-Request-Timeout-Ms: 500\r\n")

    async def drips() -> bytes:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(late[:-40])
        answering = asyncio.create_task(reader.readuntil(b"\r\n"))
        for byte in late[-40:-1]:
            if not answering.done():
                writer.write(bytes([byte]))
                await asyncio.wait([answering], timeout=0.05)
        answer = await answering
        writer.close()
        return answer

    async def both() -> tuple[list[bytes], dict[str, int]]:
        slow = asyncio.gather(*(drips() for _ in range(100)))
        endings = await ask_all(server.url, range(100), at_once=8)
        return await slow, endings

    answers, endings = asyncio.run(both())
    assert endings == {"right": 100}
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert_recovered(server)


def test_pictures_of_a_request_that_was_left_reach_nobody_else(serve: Serve) -> None:
    """Requests that leave at random moments, among others that stay."""
    server = serve(FaultyRuntime(batch_s=0.01))

    async def impatient(tag: int) -> None:
        asked = asyncio.create_task(ask(server.url, tag))
        await asyncio.wait([asked], timeout=0.002 * (tag % 20))
        asked.cancel()
        await asyncio.wait([asked])

    async def both() -> dict[str, int]:
        leaving = asyncio.gather(*(impatient(tag) for tag in range(200)))
        endings = await ask_all(server.url, range(1000, 1100), at_once=20)
        await leaving
        return endings

    assert asyncio.run(both()) == {"right": 100}
    assert_recovered(server)


def test_a_hundred_requests_over_every_limit_are_refused_and_forgotten(serve: Serve) -> None:
    server = serve(max_request_bytes=4096)
    for _ in range(100):
        assert server.post(b"x" * 5000).json()["code"] == "too_many_bytes"
        assert server.post(png(height=3, width=3)).json()["code"] == "image_too_small"
    assert_recovered(server)
