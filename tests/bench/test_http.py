"""`python -m bench http`: its load generators count rightly, and failing servers end it."""

import asyncio
import time
from argparse import Namespace
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import which
from threading import Thread
from typing import Any

import pytest

from bench import http
from bench.harness.load import Body, closed_loop, multipart, open_loop
from bench.http_load import percentiles
from bench.http_saturation import medians

needs_wrk = pytest.mark.skipif(
    not which("wrk"), reason="wrk, which generates the load, is not installed: apt-get install wrk"
)
BODY = Body(b"a crop")
STALL_S = 0.3


class Stalling(BaseHTTPRequestHandler):
    """Answers requests one at a time; the first takes STALL_S. A body of `bad` gets a 500."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        bad = self.rfile.read(int(self.headers["Content-Length"])) == b"bad"
        server: Any = self.server
        if not server.stalled:
            server.stalled = True
            time.sleep(STALL_S)
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        server.stalled = False  # type: ignore[attr-defined]  # read by the handler
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_an_open_loop_sends_while_the_first_request_is_stalled(url: str) -> None:
    answers = open_loop(url, BODY, requests=20, per_s=200)
    assert [answer.status for answer in answers] == [200] * 20
    assert answers[0].seconds >= STALL_S
    assert min(answer.seconds for answer in answers) < STALL_S / 2


@pytest.mark.slow
def test_one_after_the_other_waits_for_the_stalled_request(url: str) -> None:
    since = time.monotonic()
    answers = open_loop(url, BODY, requests=5, per_s=None)
    assert sum(answer.seconds for answer in answers) <= time.monotonic() - since
    assert answers[0].seconds >= STALL_S


def test_times_count_from_the_planned_moment_even_if_the_client_was_late(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client itself is held up for a while before it sends anything."""
    began = asyncio.TaskGroup.create_task

    def late(group: asyncio.TaskGroup, work: Any, **options: Any) -> asyncio.Task[Any]:
        time.sleep(0.05)
        return began(group, work, **options)

    monkeypatch.setattr(asyncio.TaskGroup, "create_task", late)
    answers = open_loop(url, BODY, requests=4, per_s=1000)
    assert answers[-1].seconds > 0.15, "planned at 3 ms, sent at 200 ms"


@needs_wrk
def test_a_failing_server_ends_a_benchmark_with_its_statuses(url: str) -> None:
    with pytest.raises(SystemExit, match=r"answered with \{'500': \d+\}"):
        closed_loop(url, Body(b"bad"), connections=1, seconds=1)
    answers = open_loop(url, Body(b"bad"), requests=2, per_s=100)
    with pytest.raises(SystemExit, match=r"2 of 2 requests ended with \{500\}"):
        percentiles(answers)


def test_a_missing_load_generator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        closed_loop("http://127.0.0.1:1", BODY, connections=1, seconds=1)


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(SystemExit, match="no quality; there are saturation, latency, capacity, start"):
        http.measure(Namespace(parts="quality"))


def test_figures_are_medians_with_the_lowest_and_highest() -> None:
    rounds = [{"images_per_s": speed, "cpu_ms": cpu} for speed, cpu in ((3.0, 9.0), (1.0, 2.0), (8.0, 4.0))]
    assert medians(rounds) == {"images_per_s": 3.0, "cpu_ms": 4.0, "low": 1.0, "high": 8.0}


def test_a_multipart_body_ends_with_its_boundary() -> None:
    body = multipart(b"a crop", 3)
    assert body.data.count(b"a crop") == 3
    assert body.data.endswith(b"\r\n--crop--\r\n")
