"""Tracing as an operator uses it: a real service, and a collector that reads the spans sent to it."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import httpx
import pytest
from opentelemetry.trace import get_current_span

from app.errors import StartupError
from app.settings import Settings
from app.telemetry.tracing import OFF, open_tracing
from tests.app.process import Process, ready, wait_until
from tests.conftest import REPOSITORY

pytest.importorskip("openvino")
CROP = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()
FEW = {"TELESCOPE_BATCH_SIZES": "1,4"}  # each is warmed
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """OTLP/HTTP on loopback; keeps every span."""

    def __init__(self) -> None:
        service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        self.spans: list[Any] = []
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = service.ExportTraceServiceRequest.FromString(body)
                for resource in sent.resource_spans:
                    names = {a.key: a.value.string_value for a in resource.resource.attributes}
                    collector.services.add(names["service.name"])
                    collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, trace: str) -> dict[str, Any]:
        """The spans of a trace, by name."""
        return {span.name: span for span in list(self.spans) if span.trace_id.hex() == trace}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def url(collector: Collector) -> Iterator[str]:
    """A traced service that all tests share."""
    process = Process(**FEW, TELESCOPE_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50")
    yield process.url()
    process.kill()


def post(url: str, *, image: bytes = CROP, images: int = 1, trace: str | None = None) -> int:
    headers = {"traceparent": f"00-{trace}-{PARENT}-01"} if trace else {}
    files = [("image", image)] * images
    return httpx.post(
        f"{url}/v1/super-resolve?geometry=telescope", files=files, headers=headers, timeout=60
    ).status_code


def stopped(service: Process) -> int:
    service.popen.send_signal(signal.SIGINT)
    return service.wait()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


@pytest.mark.slow
def test_a_request_is_one_trace_whose_inference_is_linked_to_its_batch(url: str, collector: Collector) -> None:
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(post, url, images=8) for _ in range(8)]
        assert post(url, trace=TRACE) == 200
        assert [other.result() for other in others] == [200] * 8
    assert ready(url)
    wait_until(lambda: [span.name for span in list(collector.spans)].count("POST /v1/super-resolve") == 9)

    assert collector.services == {"text-telescope"}
    by_id = {span.span_id: span for span in collector.spans}
    ours = collector.of(TRACE)
    request = ours.pop("POST /v1/super-resolve")
    assert request.parent_span_id.hex() == PARENT
    assert attributes(request)["http.response.status_code"] == 200
    assert ours.keys() == {"crop", "decode", "queue", "inference", "encode"}
    assert ours["crop"].parent_span_id == request.span_id
    phases = [ours[name] for name in ("decode", "queue", "inference", "encode")]
    for phase in phases:
        assert phase.parent_span_id == ours["crop"].span_id
        assert phase.start_time_unix_nano <= phase.end_time_unix_nano
    for earlier, later in pairwise(phases):
        assert earlier.end_time_unix_nano <= later.start_time_unix_nano + 5_000_000  # two clocks
    (link,) = ours["inference"].links
    batch = by_id[link.span_id]
    assert batch.name == "batch"
    assert batch.start_time_unix_nano <= ours["inference"].start_time_unix_nano

    inferences = [span for span in collector.spans if span.name == "inference"]
    assert len(inferences) == 1 + 8 * 8
    items = {
        span.span_id: attributes(span)["telescope.batch.items"] for span in collector.spans if span.name == "batch"
    }
    assert sum(items.values()) == len(inferences)  # how many share a batch depends on times measured at warm-up
    assert {link.span_id for span in inferences for link in span.links} == items.keys()
    assert not [span for span in collector.spans if "readyz" in span.name]


@pytest.mark.slow
def test_the_trace_of_a_refused_image_has_its_exception_and_no_batch(url: str, collector: Collector) -> None:
    trace = TRACE[::-1]
    assert post(url, image=CROP[: len(CROP) // 2], trace=trace) == 400
    wait_until(lambda: len(collector.of(trace)) == 3)
    spans = collector.of(trace)
    assert spans.keys() == {"POST /v1/super-resolve", "crop", "decode"}
    assert "exception" in [event.name for event in spans["decode"].events]


@pytest.mark.slow
def test_a_missing_collector_fails_no_request(start: Callable[..., Process]) -> None:
    service = start(**FEW, TELESCOPE_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert post(service.url()) == 200
    assert stopped(service) == 0


@pytest.mark.slow
def test_without_an_endpoint_the_sdk_is_not_imported(start: Callable[..., Process]) -> None:
    service = start(**FEW, PYTHONPROFILEIMPORTTIME="1")
    assert post(service.url()) == 200
    assert stopped(service) == 0
    imported = {line.rpartition("|")[2].strip() for line in service.lines if line.startswith("import time:")}
    assert "app.telemetry.tracing" in imported
    assert not {name for name in imported if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))}


def test_without_an_endpoint_no_span_is_recorded() -> None:
    assert open_tracing(Settings()) is OFF
    assert OFF.telemetry["tracing"] is False
    with OFF.span("crop"), OFF.batch(size=1, items=1) as batch:
        assert not get_current_span().is_recording()
    assert not batch.context.is_valid


@pytest.mark.parametrize("package", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"])
def test_a_missing_package_stops_the_start_with_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartupError, match=rf"package {package}, which is .*text-telescope\[otel\]"):
        open_tracing(Settings(otlp_endpoint="http://127.0.0.1:4318"))
