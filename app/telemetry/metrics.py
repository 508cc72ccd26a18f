"""Every metric of the service: name, unit, buckets.

Counts reconcile. At any moment
    telescope_requests_received_total = sum(telescope_requests_total) + telescope_requests_in_progress
    telescope_images_received_total   = sum(telescope_images_total)   + telescope_images_in_progress
    telescope_images_total{outcome="ok"} = sum(telescope_decisions_total)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    platform_collector,
    process_collector,
)

from app.imaging.quality_gate import DECISIONS, Decision

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")

OUTCOMES = ("ok", "bad_input", "refused", "expired", "cancelled", "failed")


class Metrics:
    """One registry per application, so that two of them in one process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=self.registry)
        platform_collector.PlatformCollector(registry=self.registry)
        registry = self.registry
        self.requests_received = Counter("telescope_requests_received", "HTTP requests begun.", registry=registry)
        self.requests = Counter(
            "telescope_requests", "HTTP requests ended.", ("route", "outcome"), registry=registry
        )
        self.requests_in_progress = Gauge(
            "telescope_requests_in_progress", "HTTP requests begun and not ended.", registry=registry
        )
        self.request_seconds = Histogram(
            "telescope_request_duration_seconds",
            "First byte in to last byte out.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        # A label of its own only here, and only names that are configured: few, and none that a client invents.
        self.key_requests = Counter(
            "telescope_key_requests",
            "Requests ended that came with a known API key, by its name.",
            ("key", "outcome"),
            registry=registry,
        )
        self.key_images = Counter("telescope_key_images", "Images of those requests.", ("key",), registry=registry)
        self.upload_bytes = Counter("telescope_upload_bytes", "Image bytes received.", registry=registry)
        self.result_bytes = Counter("telescope_result_bytes", "Image bytes produced.", registry=registry)
        self.images_received = Counter(
            "telescope_images_received", "Images that reached the service.", _MODEL, registry=registry
        )
        self.images = Counter("telescope_images", "Images done with.", (*_MODEL, "outcome"), registry=registry)
        self.decisions = Counter(
            "telescope_decisions",
            "Images answered, by what was done to them and why.",
            (*_MODEL, "method", "reason"),
            registry=registry,
        )
        self.images_in_progress = Gauge(
            "telescope_images_in_progress", "Images received and not done with.", _MODEL, registry=registry
        )
        self.decode_seconds = Histogram(
            "telescope_decode_seconds", "Bytes to tiles, one image.", buckets=_SECONDS, registry=registry
        )
        self.encode_seconds = Histogram(
            "telescope_encode_seconds", "Tiles to bytes, one image.", buckets=_SECONDS, registry=registry
        )
        self.queue_seconds = Histogram(
            "telescope_queue_wait_seconds",
            "Queue to the start of its batch, one tile.",
            _MODEL,
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "telescope_batch_duration_seconds",
            "One batch on the predictor.",
            _MODEL,
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_items = Histogram(
            "telescope_batch_size", "Tiles in one batch.", _MODEL, buckets=_ITEMS, registry=registry
        )
        self.batch_padding = Counter(
            "telescope_batch_padding", "Empty rows computed to fill a batch size.", _MODEL, registry=registry
        )
        self.batch_failures = Counter(
            "telescope_batch_failures", "Batches that failed.", _MODEL, registry=registry
        )
        self.ready = Gauge(
            "telescope_ready",
            "1 while requests are taken, 0 while starting, draining or broken.",
            registry=registry,
        )
        self._model_info = Info("telescope_model", "A loaded model, and where it runs.", _MODEL, registry=registry)
        self._model_active = Gauge(
            "telescope_model_active",
            "1 for the version that answers requests for its name, 0 for other loaded ones.",
            _MODEL,
            registry=registry,
        )

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is scraped."""
        Gauge(f"telescope_{name}", documentation, registry=self.registry).set_function(value)

    def expect(self, route: str) -> None:
        """Show a route's counts before its first request: Prometheus sees no increase of what was not there."""
        for outcome in OUTCOMES:
            self.requests.labels(route, outcome)

    def loaded(self, models: Iterable[tuple[Mapping[str, str], bool]]) -> None:
        """Tell of the models that are loaded now, and of no others: where each runs, and whether it is active."""
        self._model_info.clear()
        self._model_active.clear()
        for info, active in models:
            about = dict(info)
            labels = [about.pop(name) for name in _MODEL]
            self._model_info.labels(*labels).info(about)
            self._model_active.labels(*labels).set(active)

    def for_model(self, model: str, version: int) -> "ModelMetrics":
        return ModelMetrics(self, model, str(version))


class ModelMetrics:
    """The metrics that carry a model's labels; the batcher's observer."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        labels = (model, version)
        self._decisions = {
            (method, reason): metrics.decisions.labels(*labels, method, reason) for method, reason in DECISIONS
        }
        self._received = metrics.images_received.labels(*labels)
        self._outcomes = {outcome: metrics.images.labels(*labels, outcome) for outcome in OUTCOMES}
        self._in_progress = metrics.images_in_progress.labels(*labels)
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        self._batch_seconds = metrics.batch_seconds.labels(*labels)
        self._batch_items = metrics.batch_items.labels(*labels)
        self._padding = metrics.batch_padding.labels(*labels)
        self._failures = metrics.batch_failures.labels(*labels)

    @contextmanager
    def images(self, count: int) -> Iterator[list[str]]:
        """Count `count` images in, and out by the outcomes put into the list; the rest are "failed"."""
        self._received.inc(count)
        self._in_progress.inc(count)
        outcomes: list[str] = []
        try:
            yield outcomes
        finally:
            self._in_progress.dec(count)
            for outcome in [*outcomes, *["failed"] * (count - len(outcomes))]:
                self._outcomes[outcome].inc()

    def decided(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._decisions[decision.method, decision.reason].inc()

    def batch_ran(self, *, size: int, items: int, seconds: float, waits_s: Sequence[float]) -> None:
        self._batch_seconds.observe(seconds)
        self._batch_items.observe(items)
        self._padding.inc(size - items)
        for wait_s in waits_s:
            self._queue_seconds.observe(wait_s)

    def batch_failed(self, *, size: int, items: int) -> None:
        self._failures.inc()
