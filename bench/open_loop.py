"""Requests that come when they come, whether earlier ones are answered or not, as users' do.

A latency counts from the moment at which its request was to be sent, so a service that stalls cannot hide behind
clients that wait for it. One thread and `select`, and before others where the system lets it: what these clients
take of the processor, and wait for it, would count as the service's.
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

PATIENCE_S = 60
MOST = 1024  # file descriptors that `select` takes, whose timeouts are finer than `poll`'s
BEFORE_OTHERS = -10  # nice


def latencies(url: str, body: Body, *, per_s: float, seconds: float, seed: int | None) -> list[float]:
    """Seconds of each request. Ends the benchmark when one is not answered with 200.

    seed: of a Poisson process, whose requests come by chance and in clusters; None spaces them evenly.
    """
    draw = random.Random(seed)
    gaps = ((1 / per_s if seed is None else draw.expovariate(per_s)) for _ in itertools.count())
    dues = list(itertools.takewhile(lambda due: due < seconds, itertools.accumulate(gaps))) or [0.0]
    with _before_others(), closing(_Clients(url, body)) as clients:
        started = monotonic()
        return clients.ask(started + due for due in dues)


def unloaded(url: str, body: Body, *, requests: int) -> list[float]:
    """Seconds of requests that follow each other."""
    with _before_others(), closing(_Clients(url, body)) as clients:
        return [took for _ in range(requests) for took in clients.ask([monotonic()])]


def before_others() -> bool:
    """Whether the system lets these clients go before others."""
    with _before_others():
        return os.getpriority(os.PRIO_PROCESS, 0) == BEFORE_OTHERS


@contextmanager
def _before_others() -> Iterator[None]:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, BEFORE_OTHERS)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, own)


class _Client:
    """One connection with one request under way, or none."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        if self.socket.fileno() >= MOST:
            raise SystemExit(f"{url} leaves so many requests unanswered that clients run out of connections.")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self._received = b""
        self.socket.sendall(request)

    def take(self) -> float | None:
        """Seconds, once the whole answer is there. Ends the benchmark when it is no success."""
        came = self.socket.recv(1 << 18)
        self._received += came
        head, ended, answer = self._received.partition(b"\r\n\r\n")
        if not came or (ended and not head.startswith(b"HTTP/1.1 200 ")):
            raise SystemExit(f"the service answered {head[:100].decode()}: {answer[:200]!r}")
        if not ended or len(answer) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return None
        return monotonic() - self.due


class _Clients:
    """As many connections as are needed at once, each used again and again."""

    def __init__(self, url: str, body: Body) -> None:
        self._url = url
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {body.content_type}\r\n"
        self._request = f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data
        self._idle: list[_Client] = []
        self._busy: dict[socket.socket, _Client] = {}

    def ask(self, dues: Iterable[float]) -> list[float]:
        """One request at each of these times, in order, on `monotonic`; seconds of each, as they are answered."""
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
            readable, _, _ = select.select(self._busy, (), (), PATIENCE_S if due is None else due - now)
            if due is None and not readable:
                raise SystemExit(f"{self._url} has not answered {len(self._busy)} requests for {PATIENCE_S} s.")
            for ready in readable:
                took = self._busy[ready].take()
                if took is not None:
                    found.append(took)
                    self._idle.append(self._busy.pop(ready))
        return found

    def close(self) -> None:
        for client in (*self._idle, *self._busy.values()):
            client.socket.close()
