"""Load on a service from one process.

Closed loop: each connection sends again as soon as it has a response, which gives the highest throughput. wrk
(Debian: apt-get install wrk) uses little of the processor time that the service needs.

Open loop: requests are sent at planned moments, and their times count from these moments, so a stalled service
cannot hide behind clients that wait for it. It is our own: h2load, hey, Locust and autocannon do
not send at the planned moment if all their connections wait for a response.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import subprocess
from contextlib import suppress
from pathlib import Path
from shutil import which
from time import monotonic
from typing import NamedTuple

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SCRIPT = Path(__file__).with_suffix(".lua")
PATH = "/v1/super-resolve?geometry=telescope"  # one window of the network for every crop, as the runtime alone has
PRIORITY = -10  # if permitted: waiting for the processor would count as the service's time


class Body(NamedTuple):
    data: bytes
    content_type: str = "image/png"


class Answer(NamedTuple):
    """seconds: from the planned moment of the request to the end of its response."""

    status: int
    seconds: float


def multipart(crop: bytes, images: int = 1) -> Body:
    head = b'--crop\r\nContent-Disposition: form-data; name="image"; filename="crop.png"\r\n'
    part = head + b"Content-Type: image/png\r\n\r\n" + crop + b"\r\n"
    return Body(part * images + b"--crop--\r\n", "multipart/form-data; boundary=crop")


def closed_loop(url: str, body: Body, *, connections: int, seconds: float) -> float:
    """Successful requests a second. Raises SystemExit for any response but 200."""
    if not which("wrk"):
        raise SystemExit("wrk, which generates the load, is not installed: apt-get install wrk.")
    options = f"-t1 -c{connections} -d{max(1, round(seconds))}s --timeout 60s -s {SCRIPT} {url}{PATH} --".split()
    command = ["wrk", *options, body.content_type]
    done = subprocess.run(command, input=body.data, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"wrk failed on {url}: {(done.stderr or done.stdout).decode()}")
    found = json.loads(done.stdout.splitlines()[-1])
    statuses, broken = found["statuses"], found["broken"]
    if broken or statuses.keys() - {"200"}:
        raise SystemExit(f"{url} broke {broken} connections, and answered with {statuses}, not always with 200.")
    return float(statuses.get("200", 0) / found["seconds"])


class Connections:
    """Connections to a service that are kept open; each request takes an idle one, or a new one."""

    def __init__(self, url: str, body: Body) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {body.content_type}\r\n"
        self._request = f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data
        self._host, self._port = url.removeprefix("http://").split(":")
        self._idle: list[Connection] = []

    async def answer(self, due: float) -> Answer:
        """due: the planned moment. Raises OSError or EOFError if the connection breaks."""
        while (
            self._idle and self._idle[-1][0].at_eof()
        ):  # closed by the service, which keeps no connection for ever
            self._idle.pop()
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(self._host, int(self._port))
        reader, writer = connection
        writer.write(self._request)
        got = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(got.partition(b"content-length: ")[2].partition(b"\r")[0]))
        self._idle.append(connection)
        return Answer(int(got[9:12]), monotonic() - due)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


def open_loop(url: str, body: Body, *, requests: int, per_s: float | None) -> list[Answer]:
    """Evenly spaced requests; per_s None: each as soon as the one before it has its response.

    Raises OSError or EOFError, in an ExceptionGroup, if a connection breaks.
    """

    async def all_of_them() -> list[Answer]:
        connections, started, tasks = Connections(url, body), monotonic(), []
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                due = monotonic() if per_s is None else started + number / per_s
                await asyncio.sleep(due - monotonic())
                tasks.append(group.create_task(connections.answer(due)))
                if per_s is None:
                    await asyncio.wait(tasks[-1:])
        connections.close()
        return [task.result() for task in tasks]

    own = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:  # with `select`, as the timeouts of epoll are whole milliseconds
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
            return runner.run(all_of_them())
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, own)


def several(url: str, body: Body, *, connections: int, seconds: float) -> float:
    """As `closed_loop`, for machines without wrk; its client takes more of the processor."""

    async def one(sending: Connections, end: float) -> int:
        sent = 0
        while monotonic() < end:
            status = (await sending.answer(monotonic())).status
            if status != 200:
                raise SystemExit(f"{url} answered with {status}, not always with 200.")
            sent += 1
        return sent

    async def all_of_them() -> float:
        began, sending = monotonic(), Connections(url, body)
        sent = await asyncio.gather(*(one(sending, began + seconds) for _ in range(connections)))
        sending.close()
        return sum(sent) / (monotonic() - began)

    return asyncio.run(all_of_them())
