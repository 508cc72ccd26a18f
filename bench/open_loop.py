"""Requests that come when they come, whether earlier ones are answered or not, as users' do.

A latency counts from the moment at which its request was to be sent, so a service that stalls cannot hide behind
clients that wait for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

from bench.wrk import PATH, Body

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def latencies(url: str, body: Body, *, per_s: float, seconds: float, seed: int | None) -> list[float]:
    """Seconds of each request. Ends the benchmark when one is not answered with 200.

    seed: of a Poisson process, whose requests come by chance and in clusters; None spaces them evenly.
    """
    draw = random.Random(seed)
    gap_s = (lambda: 1 / per_s) if seed is None else (lambda: draw.expovariate(per_s))
    return _ended(_Clients(url, body).arrivals(gap_s, seconds))


def unloaded(url: str, body: Body, *, requests: int) -> list[float]:
    """Seconds of requests that follow each other."""
    return _ended(_Clients(url, body).one_by_one(requests))


def _ended(work: Coroutine[Any, Any, list[float]]) -> list[float]:
    try:
        return asyncio.run(work)
    except _Failed as failed:
        raise SystemExit(str(failed)) from failed


class _Failed(Exception):
    """SystemExit in a task would leave the loop at once, and connections open."""


class _Clients:
    """As many connections as are needed at once, each used again and again."""

    def __init__(self, url: str, body: Body) -> None:
        self._url = url
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {body.content_type}\r\n"
        self._request = f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data
        self._opened: list[Connection] = []
        self._idle: list[Connection] = []

    async def arrivals(self, gap_s: Callable[[], float], seconds: float) -> list[float]:
        started = due = monotonic()
        asked: list[asyncio.Task[float]] = []
        try:
            while (due := due + gap_s()) < started + seconds or not asked:
                await asyncio.sleep(due - monotonic())
                asked.append(asyncio.create_task(self._ask(due)))
            return list(await asyncio.gather(*asked))
        finally:
            await self._close()

    async def one_by_one(self, requests: int) -> list[float]:
        try:
            return [await self._ask(monotonic()) for _ in range(requests)]
        finally:
            await self._close()

    async def _ask(self, due: float) -> float:
        connection = self._idle.pop() if self._idle else await self._connect()
        reader, writer = connection
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        answer = await reader.readexactly(length)
        took = monotonic() - due
        if not head.startswith(b"HTTP/1.1 200 "):
            raise _Failed(f"{self._url} answered {head.splitlines()[0].decode()}: {answer[:200]!r}")
        self._idle.append(connection)
        return took

    async def _connect(self) -> Connection:
        host, port = self._url.removeprefix("http://").split(":")
        connection = await asyncio.open_connection(host, int(port))
        self._opened.append(connection)
        return connection

    async def _close(self) -> None:
        for _, writer in self._opened:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
