"""Requests that come when they come, whether earlier ones are answered or not, as users' do.

A latency counts from the moment at which its request was to be sent, so a service that stalls cannot hide behind
clients that wait for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from bench.wrk import PATH, Body

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def latencies(url: str, body: Body, *, per_s: float, seconds: float, seed: int | None) -> list[float]:
    """Seconds of each request. Ends the benchmark when one is not answered with 200.

    seed: of a Poisson process, whose requests come by chance and in clusters; None spaces them evenly.
    """
    draw = random.Random(seed)
    gap_s = (lambda: 1 / per_s) if seed is None else (lambda: draw.expovariate(per_s))
    return asyncio.run(_Clients(url, body).arrivals(gap_s, seconds))


def unloaded(url: str, body: Body, *, requests: int) -> list[float]:
    """Seconds of requests that follow each other."""
    return asyncio.run(_Clients(url, body).one_by_one(requests))


class _Clients:
    """As many connections as are needed at once, each used again and again."""

    def __init__(self, url: str, body: Body) -> None:
        self._url = url
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {body.content_type}\r\n"
        self._request = f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data
        self._idle: list[Connection] = []

    async def arrivals(self, gap_s: Callable[[], float], seconds: float) -> list[float]:
        started = due = monotonic()
        asked: list[asyncio.Task[float]] = []
        while (due := due + gap_s()) < started + seconds or not asked:
            await asyncio.sleep(due - monotonic())
            asked.append(asyncio.create_task(self._ask(due)))
        took = await asyncio.gather(*asked)
        await self._close()
        return list(took)

    async def one_by_one(self, requests: int) -> list[float]:
        took = [await self._ask(monotonic()) for _ in range(requests)]
        await self._close()
        return took

    async def _ask(self, due: float) -> float:
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        answer = await reader.readexactly(length)
        took = monotonic() - due
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{self._url} answered {head.splitlines()[0].decode()}: {answer[:200]!r}")
        self._idle.append((reader, writer))
        return took

    async def _connect(self) -> Connection:
        host, port = self._url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))

    async def _close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
