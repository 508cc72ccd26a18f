"""`python -m bench http`: every part runs end to end with little load, and a failing server ends the benchmark."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any

import pytest

from bench import http, http_growth, http_latency, http_null, http_saturation
from bench.http_saturation import medians
from bench.open_loop import latencies
from bench.served import Served
from bench.wrk import Body, multipart, wrk
from model_store import BUNDLED

needs_wrk = pytest.mark.skipif(
    not which("wrk"), reason="wrk, which generates the load, is not installed: apt-get install wrk"
)
BODY = Body(b"a crop", "image/png")


class Failing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def failing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@needs_wrk
def test_a_failing_server_ends_the_benchmark_with_an_explanation(failing: str) -> None:
    with pytest.raises(SystemExit, match=r"did not answer every request with 200 \(0 times; also \d+ times 500"):
        wrk(failing, BODY, connections=1, seconds=1)


def test_a_failing_server_ends_the_latency_benchmark(failing: str) -> None:
    with pytest.raises(SystemExit, match=r"HTTP/1\.1 500"):
        latencies(failing, BODY, per_s=50, seconds=0.1, seed=0)


def test_a_missing_load_generator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        wrk("http://127.0.0.1:1", BODY, connections=1, seconds=1)


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(SystemExit, match="no quality; there are saturation, null, latency, growth"):
        http.run(Namespace(parts="null,quality"))


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Runs one part with little load, on the service without a network, and returns its report."""
    for part in (http_saturation, http_latency, http_growth):
        monkeypatch.setattr(
            part, "service", lambda args, **settings: Served("--side", "service", program="bench.null", **settings)
        )

    def run_part(part: str) -> Any:
        out = tmp_path / "http.json"
        http.run(Namespace(parts=part, model="tbsrn", model_store=BUNDLED, seconds=0.5, rounds=1, out=out))
        return json.loads(out.read_text())[part]

    return run_part


@needs_wrk
def test_saturation_compares_the_service_with_its_runtime(report: Callable[[str], Any]) -> None:
    pytest.importorskip("openvino")
    sides = report("saturation")["sides"]
    for side in ("1 image a request", "16 images a request"):
        assert sides[side]["share_of_runtime"] > 0
        assert sides[side]["share_by_cpu"] > 0
        assert 0 < sides[side]["client_share"] < 1


@needs_wrk
def test_null_compares_the_service_with_frameworks_and_names_a_missing_one(
    report: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "litserve", None)
    for name in (http_null.SERVICE, "bare FastAPI"):
        monkeypatch.setitem(http_null.SERVERS, name, (http_null.SERVERS[name][0], ("bare bytes",)))
    monkeypatch.delitem(http_null.SERVERS, "bare FastAPI with Pillow")
    found = report("null")
    bare = found["sides"].pop("bare FastAPI, bare bytes")
    assert found["sides"].keys() == {f"{http_null.SERVICE}, bare bytes"}
    assert bare["service_over_it"] > 0
    assert "litserve, which is not installed" in capsys.readouterr().out


@needs_wrk
def test_latency_is_reported_for_every_load(report: Callable[[str], Any]) -> None:
    found = report("latency")
    expected = {f"{load} %, {how}" for load in (10, 50, 70, 80) for how in ("evenly", "by chance")}
    assert found["loads"].keys() == {"unloaded", *expected}
    assert found["p99_at_70_over_unloaded_median"].keys() == {"evenly", "by chance"}


@needs_wrk
@pytest.mark.slow
def test_growth_is_reported_for_load_requests_queue_and_time(
    report: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, values in {"CONNECTIONS": (1,), "IMAGES": (2,), "QUEUES": (64, 96), "LONG": 2}.items():
        monkeypatch.setattr(http_growth, name, values)
    found = report("growth")
    assert [(row["grows"], row["value"]) for row in found["rows"]] == [
        ("connections", 1),
        ("images a request", 2),
        ("queue limit", 64),
        ("queue limit", 96),
    ]
    assert found.keys() >= {"kib_a_queued_window", "mib_a_minute"}


def test_figures_are_medians_with_the_lowest_and_highest() -> None:
    rounds = [{"images_per_s": speed, "cpu_ms": cpu} for speed, cpu in ((3.0, 9.0), (1.0, 2.0), (8.0, 4.0))]
    assert medians(rounds) == {"images_per_s": 3.0, "cpu_ms": 4.0, "low": 1.0, "high": 8.0}


def test_a_multipart_body_ends_with_its_boundary() -> None:
    body = multipart(b"a crop", 3)
    assert body.data.count(b"a crop") == 3
    assert body.data.endswith(b"\r\n--crop--\r\n")
