"""Clients that disconnect at any moment, in any number, do not affect other clients."""

import asyncio
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.imaging import decode, encode
from tests.app.conftest import Server, png
from tests.app.process import wait_until
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

pytestmark = pytest.mark.slow


class Client:
    """A client that sends bytes, and reads or disconnects when the test calls for it."""

    def __init__(self, server: Server, sent: bytes) -> None:
        self.connection = connect(server)
        self.connection.sendall(sent)

    def read(self, *, pause_s: float) -> int:
        """Read to the end of the connection, with a pause after each MiB; return the number of bytes."""
        received = 0
        with self.connection:
            while data := self.connection.recv(2**20, socket.MSG_WAITALL):
                received += len(data)
                time.sleep(pause_s)
        return received

    def disconnect(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()


def cancelled(server: Server) -> bool:
    return server.metric("telescope_requests_total", outcome="cancelled") == 1


@pytest.mark.parametrize("share", [0.2, 0.9], ids=["head", "body"])
def test_a_client_that_disconnects_while_sending(serve: Serve, share: float) -> None:
    server, whole = serve(), tagged(0)
    Client(server, whole[: int(share * len(whole))]).disconnect()
    assert_recovered(server)


@pytest.mark.parametrize(("where", "phase"), [(decode.Probed, "decode"), (encode, "encode")])
def test_a_client_that_disconnects_while_its_picture_is_decoded_or_encoded(
    serve: Serve, where: Any, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    work = getattr(where, phase)

    def held(*arguments: Any) -> Any:
        inside.set()
        assert go_on.wait(30), "the test did not release it"
        return work(*arguments)

    server, request = serve(), tagged(7)
    monkeypatch.setattr(decode.Probed, "is_small", lambda *_: False)  # use a thread
    monkeypatch.setattr(where, phase, held)
    ran = len(server.runtime.batches)
    client = Client(server, request)
    assert inside.wait(30)
    client.disconnect()
    wait_until(lambda: cancelled(server))
    assert server.metric("telescope_admitted_windows") == 0
    go_on.set()
    monkeypatch.undo()
    assert_settled(server)
    assert len(server.runtime.batches) - ran == (phase == "encode"), "computed without a client"
    assert_recovered(server)


def test_a_client_that_disconnects_while_its_batch_runs_or_queues(serve: Serve) -> None:
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
        client.disconnect()
    assert_settled(server)  # before the batch ends
    assert server.metric("telescope_requests_total", outcome="cancelled") == 2
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(asyncio.run, ask(server.url, 3))
        wait_until(lambda: server.metric("telescope_queue_windows") == 1)
        runtime.gate.set()
        assert later.result() == "right"  # and not the result of the batch that ran before
    assert len(runtime.batches) == ran + 2
    assert_recovered(server)


def test_a_client_that_disconnects_while_it_reads_its_response(serve: Serve, noise: bytes) -> None:
    server = serve()
    client = Client(server, noise)
    assert client.connection.recv(100).startswith(b"HTTP/1.1 200 ")
    client.disconnect()
    wait_until(lambda: not server._server.server_state.connections)
    assert_recovered(server)


@pytest.fixture(scope="module")
def noise() -> bytes:
    """A request whose response is larger than the buffers of sockets."""
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    return post(encode.encode(pixels, "jpeg"))


def test_unread_responses_are_bounded_and_cut_off(serve: Serve, noise: bytes) -> None:
    server = serve(max_answer_bytes=10**6, answer_timeout_s=1)
    idle = Client(server, noise)
    wait_until(lambda: server.metric("telescope_answer_bytes") > 10**6)
    assert server.metric("telescope_requests_in_progress") == 1, "a request ends only when its response is read"
    assert asyncio.run(ask(server.url, 1)) == "overloaded"
    wait_until(lambda: not server._server.server_state.connections, 30)
    head = idle.connection.recv(500, socket.MSG_PEEK)
    (length,) = re.findall(rb"content-length: (\d+)", head)
    assert idle.read(pause_s=0) < int(length)
    assert_recovered(server)


def test_a_client_that_reads_slowly_gets_its_whole_response(serve: Serve, noise: bytes) -> None:
    server = serve(answer_timeout_s=1)
    client, since = Client(server, noise), time.monotonic()
    assert client.read(pause_s=0.2) > 6 * 10**6
    assert time.monotonic() - since > 1
    assert_recovered(server)


def test_a_thousand_clients_that_disconnect_within_their_requests(serve: Serve) -> None:
    server = serve()

    async def both() -> dict[str, int]:
        _, endings = await asyncio.gather(
            storm(server.url, 1000), ask_all(server.url, range(1000, 1200), at_once=20)
        )
        return endings

    assert asyncio.run(both()) == {"right": 200}
    wait_until(lambda: not server._server.server_state.connections, 30)
    assert_recovered(server, requests=64)


def test_clients_that_disconnect_while_the_predictor_is_busy(serve: Serve) -> None:
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


def test_slowly_sent_bodies_end_at_the_deadline_and_delay_no_other_request(serve: Serve) -> None:
    server = serve()
    late = tagged(0, headers="X-Request-Timeout-Ms: 500\r\n")

    async def send_slowly() -> bytes:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(late[:-40])
        answering = asyncio.create_task(reader.readuntil(b"\r\n"))
        for byte in late[-40:-1]:
            if not answering.done():
                writer.write(bytes([byte]))
                await asyncio.wait([answering], timeout=0.05)
        status_line = await answering
        writer.close()
        return status_line

    async def both() -> tuple[list[bytes], dict[str, int]]:
        slow = asyncio.gather(*(send_slowly() for _ in range(100)))
        endings = await ask_all(server.url, range(100), at_once=8)
        return await slow, endings

    status_lines, endings = asyncio.run(both())
    assert endings == {"right": 100}
    assert all(line.startswith(b"HTTP/1.1 408 ") for line in status_lines)
    assert_recovered(server)


def test_results_of_a_cancelled_request_reach_no_other_client(serve: Serve) -> None:
    """Some clients disconnect at different moments while others wait for their responses."""
    server = serve(FaultyRuntime(batch_s=0.01))

    async def disconnecting(tag: int) -> None:
        asked = asyncio.create_task(ask(server.url, tag))
        await asyncio.wait([asked], timeout=0.002 * (tag % 20))
        asked.cancel()
        await asyncio.wait([asked])

    async def both() -> dict[str, int]:
        leaving = asyncio.gather(*(disconnecting(tag) for tag in range(200)))
        endings = await ask_all(server.url, range(1000, 1100), at_once=20)
        await leaving
        return endings

    assert asyncio.run(both()) == {"right": 100}
    assert_recovered(server)


def test_a_hundred_requests_over_every_limit_are_refused_and_leave_nothing(serve: Serve) -> None:
    server = serve(max_request_bytes=4096)
    for _ in range(100):
        assert server.post(b"x" * 5000).json()["code"] == "too_many_bytes"
        assert server.post(png(height=3, width=3)).json()["code"] == "image_too_small"
    assert_recovered(server)
