"""An open-loop load generator: requests are sent at scheduled times, whether or not earlier ones have finished.

A latency counts from the scheduled time of its request, so a stalled service cannot hide behind clients that wait
for it. The generator is one thread with `select`, at a high priority if the system permits it: time that it spends
waiting for the processor would count as latency of the service.
"""

from __future__ import annotations

import itertools
import os
import random
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from time import monotonic

from bench.wrk import PATH, Body

TIMEOUT_S = 60
MAX_DESCRIPTORS = 1024  # the limit of `select`, which is used because its timeouts are finer than those of `poll`
PRIORITY = -10  # as for `nice`: before ordinary processes


def latencies(url: str, body: Body, *, per_s: float, seconds: float, seed: int | None) -> list[float]:
    """Seconds of each request. Raises SystemExit if a response is not 200.

    seed: seed of a Poisson process, which sends requests at random times; None spaces them evenly.
    """
    draw = random.Random(seed)
    gaps = ((1 / per_s if seed is None else draw.expovariate(per_s)) for _ in itertools.count())
    dues = list(itertools.takewhile(lambda due: due < seconds, itertools.accumulate(gaps))) or [0.0]
    with _high_priority(), closing(_Clients(url, body)) as clients:
        started = monotonic()
        return clients.ask(started + due for due in dues)


def unloaded(url: str, body: Body, *, requests: int) -> list[float]:
    """Seconds of each request, sent one after the other."""
    with _high_priority(), closing(_Clients(url, body)) as clients:
        return [took for _ in range(requests) for took in clients.ask([monotonic()])]


def may_raise_priority() -> bool:
    """True if the system permits this process to raise its priority."""
    with _high_priority():
        return os.getpriority(os.PRIO_PROCESS, 0) == PRIORITY


@contextmanager
def _high_priority() -> Iterator[None]:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, own)


class _Client:
    """One connection with at most one request in progress."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        if self.socket.fileno() >= MAX_DESCRIPTORS:
            raise SystemExit(
                f"{url} has about {MAX_DESCRIPTORS} unfinished requests; this client cannot open more."
            )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self._received = b""
        self.socket.sendall(request)

    def take(self) -> float | None:
        """Read; return the seconds once the response is complete. Raises SystemExit if it is not a success."""
        data = self.socket.recv(1 << 18)
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        if not data or (ended and not head.startswith(b"HTTP/1.1 200 ")):
            raise SystemExit(f"the service answered {head[:100].decode()}: {body[:200]!r}")
        if not ended or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return None
        return monotonic() - self.due


class _Clients:
    """A pool of connections that grows as needed and reuses them."""

    def __init__(self, url: str, body: Body) -> None:
        self._url = url
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {body.content_type}\r\n"
        self._request = f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data
        self._idle: list[_Client] = []
        self._busy: dict[socket.socket, _Client] = {}

    def ask(self, dues: Iterable[float]) -> list[float]:
        """Send one request at each of these `monotonic` times (ascending); return their seconds."""
        found: list[float] = []
        waiting = iter(dues)
        due = next(waiting, None)
        while due is not None or self._busy:
            now = monotonic()
            if due is not None and due <= now:
                client = self._idle.pop() if self._idle else _Client(self._url)
                client.ask(self._request, due)
                self._busy[client.socket] = client
                due = next(waiting, None)
                continue
            readable, _, _ = select.select(self._busy, (), (), TIMEOUT_S if due is None else due - now)
            if due is None and not readable:
                raise SystemExit(f"{self._url} has not answered {len(self._busy)} requests for {TIMEOUT_S} s.")
            for ready in readable:
                took = self._busy[ready].take()
                if took is not None:
                    found.append(took)
                    self._idle.append(self._busy.pop(ready))
        return found

    def close(self) -> None:
        for client in (*self._idle, *self._busy.values()):
            client.socket.close()
