"""Tracing: spans that show how a request's time was spent, for the operator's OpenTelemetry collector.

    request (FastAPI's own span; continues the W3C traceparent of the request)
      crop
        decode | queue | inference -> link -> batch | encode

Without TELESCOPE_OTLP_ENDPOINT the tracer is the no-op one of OpenTelemetry's API, at 24 us a request. With
it, a thread of the SDK sends the spans over OTLP/HTTP; a slow or missing collector loses spans and never delays a
request. The standard's variables set the rest: OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_BSP_...
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, NoOpTracerProvider, SpanContext

from app.errors import StartupError
from app.settings import Settings
from model_store.optional import optional

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORT_TIMEOUT_S = 3  # a missing collector delays the shutdown by this long
POLLED = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics")  # every few seconds, and fast


@dataclass(eq=False)
class BatchSpan:
    """A batch that runs on the predictor, for the requests whose tiles are in it."""

    context: SpanContext
    start_ns: int
    end_ns: int = 0


class Tracing:
    def __init__(self, exporting: "TracerProvider | None" = None) -> None:
        """exporting: sends spans to a collector; None records nothing."""
        self._exporting = exporting
        self._tracer = (exporting or NoOpTracerProvider()).get_tracer("text-telescope")

    @property
    def telemetry(self) -> dict[str, Any]:
        """FastAPI's option of this name. OTEL_ variables that a platform sets for all services start no export."""
        off = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
        if not self._exporting:
            return off
        return off | {
            "tracing": True,
            "tracer_provider": self._exporting,
            "operation_spans": False,
            "exclude": lambda scope: scope.get("path") in POLLED,
        }

    def span(self, name: str) -> AbstractContextManager[object]:
        """A part of the current request; records an exception that leaves it."""
        return self._tracer.start_as_current_span(name)

    @contextmanager
    def batch(self, *, size: int, items: int) -> Iterator[BatchSpan]:
        """A batch with tiles of many requests; `inferred` links their spans to it."""
        attributes = {"telescope.batch.size": size, "telescope.batch.items": items}
        with self._tracer.start_as_current_span("batch", attributes=attributes) as span:
            batch = BatchSpan(span.get_span_context(), time_ns())
            try:
                yield batch
            finally:
                batch.end_ns = time_ns()

    def inferred(self, tiles: Iterable[tuple[BatchSpan, float]]) -> None:
        """Spans of a crop's wait in the queue and of its inference, one pair for each batch with tiles of it.

        tiles: the batch of each, and the seconds that it waited.
        """
        for batch, queue_s in dict(tiles).items():
            queued_ns = batch.start_ns - round(queue_s * 1e9)
            self._tracer.start_span("queue", start_time=queued_ns).end(batch.start_ns)
            inference = self._tracer.start_span(
                "inference", start_time=batch.start_ns, links=[Link(batch.context)]
            )
            inference.end(batch.end_ns)

    def close(self) -> None:
        """Send the remaining spans. Blocks for at most about `EXPORT_TIMEOUT_S`."""
        if self._exporting:
            self._exporting.shutdown()


OFF = Tracing()


def open_tracing(settings: Settings) -> Tracing:
    """Raises StartupError naming the extra if the endpoint is set and the SDK is missing or broken."""
    if settings.otlp_endpoint is None:
        return OFF
    return Tracing(_exporting(settings.otlp_endpoint))


def _exporting(endpoint: str) -> "TracerProvider":
    """endpoint: the collector's address, without the path of the signal."""
    needed = partial(optional, f"TELESCOPE_OTLP_ENDPOINT={endpoint}", extra="otel", error=StartupError)
    with needed("opentelemetry.sdk"):
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    with needed("opentelemetry.exporter.otlp.proto.http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    name = os.environ.get("OTEL_SERVICE_NAME", "text-telescope")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
