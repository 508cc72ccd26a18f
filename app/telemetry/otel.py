"""Tracing by OpenTelemetry: spans in batches over OTLP/HTTP to one collector, from a thread of its own.

A collector that is slow or gone costs spans, never a request. The standard's own variables hold for what is not a
setting of ours: OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_...
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import time_ns
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext

from app.batching.queue import InferenceResult
from app.telemetry.tracing import Tracing

EXPORT_TIMEOUT_S = 3  # what a collector that is gone adds to a shutdown
UNTRACED = ("/livez", "/readyz", "/metrics")  # asked for every few seconds, and answered at once


@dataclass
class _Batch:
    context: SpanContext
    start_ns: int
    end_ns: int = 0


class OpenTelemetry(Tracing):
    def __init__(self, endpoint: str) -> None:
        """endpoint: of the collector, without the path of the signal."""
        name = os.environ.get("OTEL_SERVICE_NAME", "text-telescope")
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("text-telescope")

    @property
    def telemetry(self) -> dict[str, Any]:
        return {
            **super().telemetry,
            "tracing": True,
            "tracer_provider": self._provider,
            "operation_spans": False,
            "exclude": lambda scope: scope.get("path") in UNTRACED,
        }

    def span(self, name: str) -> AbstractContextManager[object]:
        return self._tracer.start_as_current_span(name)

    @contextmanager
    def batch(self, *, size: int, items: int) -> Iterator[_Batch]:
        attributes = {"telescope.batch.size": size, "telescope.batch.items": items}
        with self._tracer.start_as_current_span("batch", attributes=attributes) as span:
            batch = _Batch(span.get_span_context(), time_ns())
            try:
                yield batch
            finally:
                batch.end_ns = time_ns()

    def inferred(self, windows: Sequence[InferenceResult]) -> None:
        for window in {id(window.batch): window for window in windows}.values():
            batch = window.batch
            assert isinstance(batch, _Batch)
            queued_ns = batch.start_ns - round(window.queue_s * 1e9)
            self._tracer.start_span("queue", start_time=queued_ns).end(batch.start_ns)
            inference = self._tracer.start_span(
                "inference", start_time=batch.start_ns, links=[Link(batch.context)]
            )
            inference.end(batch.end_ns)

    def close(self) -> None:
        self._provider.shutdown()
