"""Many clients on raw sockets, some of which disconnect within their requests, and the outcomes of the others."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from app import errors
from app.imaging.decode import decode
from model_store.pixels import Rgb

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, as for a killed client


class Asked(NamedTuple):
    request: bytes
    right: Rgb  # the pixels of its response


def post(body: bytes, *, headers: str = "", query: str = "") -> bytes:
    """The bytes of a request with one picture, on a connection that closes after its response."""
    head = (
        f"POST /v1/super-resolve{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


async def connect(url: str) -> Connection:
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


def outcome(response: bytes, right: Rgb, *, levels: int) -> str:
    """right, mixed (pixels that differ by more than `levels` from the right ones), lost, or the error's code."""
    head, _, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return str(json.loads(body)["code"]) if body else "lost"
    try:
        sr = decode(body)
    except errors.ServiceError:
        return "lost"  # the response was cut off
    same = sr.shape == right.shape and np.abs(sr.astype(int) - right).max() <= levels
    return "right" if same else "mixed"


async def ask_all(url: str, asked: Iterable[Asked], *, at_once: int, levels: int = 0) -> Counter[str]:
    """Outcomes of the requests of `at_once` clients, each with one at a time, and their numbers."""
    waiting = iter(asked)
    outcomes: Counter[str] = Counter()

    async def client() -> None:
        for request, right in waiting:
            try:
                outcomes[outcome(await exchange(url, request), right, levels=levels)] += 1
            except OSError as exc:
                outcomes["unreachable" if isinstance(exc, ConnectionRefusedError) else "lost"] += 1

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
