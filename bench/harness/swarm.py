"""Many clients on raw sockets, some of which disconnect within their requests, and the outcomes of the others."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import httpx
import numpy as np

from app import errors
from app.imaging.decode import decode
from model_store.pixels import Rgb

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, as for a killed client


def post(body: bytes, *, headers: str = "") -> bytes:
    """The bytes of a request with one picture, on a connection that closes after its response."""
    head = (
        "POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


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


async def ask(url: str, request: bytes, right: Rgb, *, levels: int = 0) -> str:
    """The outcome of one request: right, mixed, unreachable, lost (incomplete response), or the problem's code.

    levels: the difference from the right pixels that still counts as right; a response beyond it is mixed up.
    """
    try:
        return outcome(await exchange(url, request), right, levels=levels)
    except ConnectionRefusedError:
        return "unreachable"
    except OSError:
        return "lost"


def outcome(response: bytes, right: Rgb, *, levels: int = 0) -> str:
    head, _, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return str(json.loads(body)["code"]) if body else "lost"
    try:
        sr = decode(body)
    except errors.ServiceError:
        return "lost"  # the response was cut off
    same = sr.shape == right.shape and np.abs(sr.astype(int) - right).max() <= levels
    return "right" if same else "mixed"


async def ask_all(url: str, asked: Iterable[tuple[bytes, Rgb]], *, at_once: int, levels: int = 0) -> Counter[str]:
    """The outcomes of requests, each given with its right pixels, from `at_once` clients with one at a time."""
    waiting = iter(asked)
    outcomes: Counter[str] = Counter()

    async def client() -> None:
        for request, right in waiting:
            outcomes[await ask(url, request, right, levels=levels)] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return outcomes


async def storm(url: str, request: bytes, clients: int) -> None:
    """Clients that all at once send the request up to the middle of its head or body, and disconnect.

    Half of them end with RST, as a killed client does, the others with FIN.
    """
    body_at = request.index(b"\r\n\r\n") + 4
    cuts = (body_at // 2, (body_at + len(request)) // 2)

    async def disconnect(sent: bytes, *, reset: bool) -> None:
        _, writer = await connect(url)
        with suppress(OSError):
            writer.write(sent)
            await writer.drain()
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()

    await asyncio.gather(*(disconnect(request[: cuts[i % 2]], reset=i % 4 < 2) for i in range(clients)))


def activate(url: str, ref: str, key: str) -> int:
    """Switch to another version; return the status of the response."""
    return httpx.post(f"{url}/v1/models/{ref}/activate", headers={"X-API-Key": key}, timeout=60).status_code
