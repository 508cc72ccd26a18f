"""Request heads that never end or never arrive."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import pytest

from app.server import connection
from tests.app.conftest import Server, png
from tests.app.raw import connect

START = b"POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\n"
CHUNKED = START + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"


def many_headers() -> Iterator[bytes]:
    yield START
    while True:
        yield b"X-Header: " + b"a" * 1000 + b"\r\n"


def endless_header() -> Iterator[bytes]:
    yield START + b"X-Header: "
    while True:
        yield b"a" * 1000


def endless_address() -> Iterator[bytes]:
    yield b"GET /"
    while True:
        yield b"a" * 1000


def endless_trailer() -> Iterator[bytes]:
    yield CHUNKED + b"1\r\na\r\n0\r\n"
    while True:
        yield b"X-Trailer: " + b"a" * 1000 + b"\r\n"


def endless_chunk_extension() -> Iterator[bytes]:
    yield CHUNKED + b"1;"
    while True:
        yield b"a" * 1000


@pytest.mark.parametrize(
    "sends", [many_headers, endless_header, endless_address, endless_trailer, endless_chunk_extension]
)
def test_an_endless_head_or_trailer_is_cut_off_at_a_limit(
    server: Server, sends: Callable[[], Iterator[bytes]]
) -> None:
    most = 50_000_000  # the kernel buffers a good part of it
    with connect(server) as client, suppress(ConnectionError):
        for data in islice(sends(), most // 1000):
            client.sendall(data)
        pytest.fail("the service read all of it")
    assert server.client.get("/livez").status_code == 200


def test_a_head_below_the_limit_is_accepted_and_one_above_it_gets_431(server: Server) -> None:
    assert server.client.get("/livez", headers={"X-Header": "a" * 60_000}).status_code == 200
    with connect(server) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Header: " + b"a" * 65_536)
        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_large_body_in_small_chunks_does_not_count_as_a_head(server: Server) -> None:
    picture = png() + b"\0" * 100_000
    response = server.client.post(
        "/v1/super-resolve",
        content=(picture[i : i + 100] for i in range(0, len(picture), 100)),
        headers={"content-type": "image/png"},
    )
    assert response.status_code == 200


def test_a_head_that_does_not_arrive_in_time_gets_408(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.2)
    for sent in (b"", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\n\r\nGET"):
        with connect(server) as client:
            client.sendall(sent)
            response = b"".join(iter(lambda c=client: c.recv(1000), b""))  # type: ignore[misc]
            assert response.count(b"HTTP/1.1 408 ") == 1
            assert response.count(b"HTTP/1.1 200 ") == sent.count(b"\r\n\r\n")


def test_a_second_head_that_does_not_arrive_leaves_the_first_response_unmixed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.2)
    server.runtime.gate.clear()
    picture, received = png(), b""
    head = START + b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(picture)
    with connect(server) as client, suppress(ConnectionResetError):
        client.sendall(head + picture + b"GET /livez")
        received = client.recv(1000)
    server.runtime.gate.set()
    assert received == b""


def test_the_head_timeout_does_not_limit_the_response_time(
    start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.1)
    server = start_server(max_delay_ms=400)
    assert server.post(png()).status_code == 200
