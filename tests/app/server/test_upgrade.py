"""Requests that offer another protocol, as curl --http2 and Java's HttpClient do, are answered in HTTP/1.1."""

import asyncio
import logging
from typing import cast

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from app.server.connection import Connection
from tests.app.conftest import Server, png
from tests.app.raw import connect, exchange

# As curl and Java send it, then WebSocket, then unknown protocols.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
OFFERS = [
    H2C,
    b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nConnection: Upgrade, HTTP2-Settings\r\n",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"CONNECTION: upgrade\r\nUPGRADE: TLS/1.2, carrier-pigeon/1\r\nUpgrade: other\r\n",
]
BODY = b"abc\r\n\r\nGET / HTTP/1.1\r\n"
SIZED = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY) - 3, BODY[3:])


class Wire(asyncio.Transport):
    """A connection whose bytes arrive as a test cuts them."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    said = b"%s %s %s" % (request.method.encode(), request.url.path.encode(), await request.body())
    await Response(said)(scope, receive, send)


async def responses(*pieces: bytes) -> tuple[list[bytes], bool]:
    """The bodies that `echo` sends back to these pieces of requests, and whether the connection was closed."""
    config = uvicorn.Config(cast(ASGIApp, echo), lifespan="off", log_config=None, ws="none")
    connection = Connection(config, ServerState(), {}, answer_timeout_s=60)
    wire = Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    while connection.tasks:
        await asyncio.wait(connection.tasks)
    closed = wire.closed
    connection.connection_lost(None)
    return [response.partition(b"\r\n\r\n")[2] for response in wire.sent.split(b"HTTP/1.1 200 OK")[1:]], closed


@pytest.mark.parametrize("body", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("offer", OFFERS)
def test_requests_with_an_offer_are_read_wherever_their_bytes_are_cut(offer: bytes, body: bytes) -> None:
    requests = b"POST /a?b HTTP/1.1\r\nHost: x\r\n" + offer + body + b"GET /c HTTP/1.1\r\n" + offer + b"\r\n"
    expected = [b"POST /a " + BODY, b"GET /c "]
    for cut in range(len(requests)):
        assert asyncio.run(responses(requests[:cut], requests[cut:])) == (expected, False)
    assert asyncio.run(responses(*(requests[i : i + 1] for i in range(len(requests))))) == (expected, False)


def test_a_connection_that_is_to_be_closed_is_read_to_the_end_of_its_body() -> None:
    request = b"POST /a HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n" + SIZED
    for cut in range(len(request)):
        assert asyncio.run(responses(request[:cut], request[cut:])) == ([b"POST /a " + BODY], True)


def test_thousands_of_offers_in_one_read_are_answered() -> None:
    said, _ = asyncio.run(responses(b"".join([b"GET /a HTTP/1.1\r\n" + H2C + b"\r\n"] * 2000)))
    assert said == [b"GET /a "] * 2000


@pytest.mark.parametrize("offer", OFFERS)
def test_a_picture_behind_an_offer_is_super_resolved_and_the_connection_goes_on(
    server: Server, offer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    picture = png()
    raw = b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n%s" % (len(picture), picture)
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="crop.png"\r\n\r\n'
    form = part + picture + b"\r\n--b--\r\n"
    chunked = b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%s\r\n0\r\n\r\n" % (len(form), form)
    with connect(server) as client, caplog.at_level(logging.WARNING):
        for body in (raw, chunked, raw):
            client.sendall(b"POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\n" + offer + body)
            assert client.recv(100_000).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
        assert client.recv(100_000).startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505, b"HTTP/1.1, not HTTP/2"),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n\x16\3\1", 501, b"no proxy"),
        (b"\x16\3\1\2\0\1\0\1\xfc\3\3", 400, b"not valid HTTP/1.1"),
        (b"POST / HTTP/1.1\r\n" + H2C + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, b"not valid HTTP/1.1"),
    ],
    ids=["HTTP/2 with prior knowledge", "a tunnel", "TLS", "a body that is not chunked"],
)
def test_a_request_that_is_no_http_1_1_is_refused_at_once(
    server: Server, sent: bytes, status: int, said: bytes
) -> None:
    refused, _, body = exchange(server, sent)
    assert refused == status
    assert said in body
    assert server.client.get("/livez").status_code == 200
