"""Many clients on raw sockets, each with a picture of its own colour, and the outcomes of their requests."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np

from app import errors
from app.imaging.decode import decode
from tests.app.conftest import Server, assert_reconciled, picture, png, wait_until

GAUGES = ("queue_windows", "admitted_windows", "admitted_bytes", "body_bytes", "requests_in_progress")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, as for a killed client


def colour(tag: int) -> tuple[int, int, int]:
    return tag % 256, tag // 256 % 256, 77


def post(body: bytes, *, headers: str = "") -> bytes:
    """The bytes of a request with one picture, on a connection that closes after its response."""
    head = (
        "POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


def tagged(tag: int, *, headers: str = "") -> bytes:
    return post(png(colour(tag)), headers=headers)


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def exchange(url: str, request: bytes) -> bytes:
    """The whole response, head and body. Raises OSError if the connection breaks."""
    reader, writer = await connect(url)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def ask(url: str, tag: int, *, headers: str = "") -> str:
    """The outcome of one request: right, mixed, unreachable, lost (incomplete response), or the problem's code."""
    try:
        return ending(await exchange(url, tagged(tag, headers=headers)), tag)
    except ConnectionRefusedError:
        return "unreachable"
    except OSError:
        return "lost"


def ending(response: bytes, tag: int) -> str:
    head, _, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return str(json.loads(body)["code"]) if body else "lost"
    try:
        sr = decode(body)
    except errors.ServiceError:
        return "lost"  # the response was cut off
    expected = picture(colour(tag), height=32, width=128)
    return "right" if np.array_equal(sr, expected) else "mixed"


async def ask_all(url: str, tags: Iterable[int], *, at_once: int, headers: str = "") -> Counter[str]:
    """One request for each tag, from `at_once` clients, each with one request at a time."""
    waiting = iter(tags)
    endings: Counter[str] = Counter()

    async def client() -> None:
        for tag in waiting:
            endings[await ask(url, tag, headers=headers)] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return endings


async def disconnect(url: str, sent: bytes, *, reset: bool) -> None:
    """A client that sends some bytes and disconnects: with RST if `reset`, otherwise with FIN."""
    _, writer = await connect(url)
    with suppress(OSError):
        writer.write(sent)
        await writer.drain()
        if reset:
            connection: Any = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.close()


async def storm(url: str, clients: int) -> None:
    """Clients that all at once send part of a request, up to the middle of its head or body, and disconnect."""
    whole = tagged(0)
    body_at = whole.index(b"\r\n\r\n") + 4
    cuts = (body_at // 2, (body_at + len(whole)) // 2)
    await asyncio.gather(*(disconnect(url, whole[: cuts[i % 2]], reset=i % 4 < 2) for i in range(clients)))


def metrics(url: str) -> dict[str, float]:
    """The service's metrics, summed over labels."""
    found: Counter[str] = Counter()
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line[0] != "#":
            name, value = line.rsplit(" ", 1)
            found[name.partition("{")[0]] += float(value)  # type: ignore[assignment]
    return found


def activate(url: str, ref: str, key: str) -> int:
    """Switch to another version; return the status of the response."""
    return httpx.post(f"{url}/v1/models/{ref}/activate", headers={"X-API-Key": key}, timeout=60).status_code


def assert_settled(server: Server) -> None:
    """No request is in progress, nothing is held in memory, and every received request has one counted outcome."""
    for gauge in GAUGES:
        wait_until(lambda name=f"telescope_{gauge}": server.metric(name) == 0, 30)  # type: ignore[misc]
    assert_reconciled(server)


def assert_recovered(server: Server, *, requests: int = 32) -> None:
    """The service gives every client the right response, and holds nothing afterwards."""
    endings = asyncio.run(ask_all(server.url, range(requests), at_once=16))
    assert endings == {"right": requests}
    assert_settled(server)
