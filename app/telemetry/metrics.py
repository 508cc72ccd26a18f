"""Every metric of the service: name, unit, buckets.

Counts reconcile. At any moment
    telescope_requests_received_total = sum(telescope_requests_total) + telescope_requests_in_progress
    telescope_images_received_total   = sum(telescope_images_total)   + telescope_images_in_progress
    telescope_images_total{outcome="ok"} = sum(telescope_decisions_total)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

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
    """One registry per application: two applications in one process keep separate counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=self.registry)
        platform_collector.PlatformCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        seconds = partial(histogram, buckets=_SECONDS)

        self.ready = gauge("telescope_ready", "1 while requests are taken, 0 while starting, draining or broken.")
        self.requests_received = counter("telescope_requests_received", "HTTP requests begun.")
        self.requests = counter("telescope_requests", "HTTP requests ended.", ("route", "outcome"))
        self.requests_in_progress = gauge("telescope_requests_in_progress", "HTTP requests begun and not ended.")
        self.request_seconds = seconds(
            "telescope_request_duration_seconds", "First byte in to last byte out.", ("route",)
        )
        # The only metrics with keys as labels, and only the configured names: few, and no client can add one.
        self.key_requests = counter(
            "telescope_key_requests",
            "Requests ended that came with a known API key, by its name.",
            ("key", "outcome"),
        )
        self.key_images = counter("telescope_key_images", "Images of those requests.", ("key",))
        self.upload_bytes = counter("telescope_upload_bytes", "Image bytes received.")
        self.result_bytes = counter("telescope_result_bytes", "Image bytes produced.")

        self.images_received = counter("telescope_images_received", "Images that reached the service.", _MODEL)
        self.images = counter("telescope_images", "Images done with.", (*_MODEL, "outcome"))
        self.images_in_progress = gauge(
            "telescope_images_in_progress", "Images received and not done with.", _MODEL
        )
        self.decisions = counter(
            "telescope_decisions", "Images answered, by method and its reason.", (*_MODEL, "method", "reason")
        )
        self.decode_seconds = seconds("telescope_decode_seconds", "Bytes to tiles, one image.")
        self.encode_seconds = seconds("telescope_encode_seconds", "Tiles to bytes, one image.")

        self.ocr_seconds = seconds(
            "telescope_ocr_seconds",
            "One step: the lines of a page found, or 16 read.",
            ("step",),
        )
        self.lines_read = counter(
            "telescope_lines_read",
            "Lines of pages that were read, by the kept reading.",
            (*_MODEL, "kept"),
        )

        self.queue_seconds = seconds(
            "telescope_queue_wait_seconds", "Queue to the start of its batch, one tile.", _MODEL
        )
        self.batch_seconds = seconds("telescope_batch_duration_seconds", "One batch on the predictor.", _MODEL)
        self.batch_items = histogram("telescope_batch_size", "Tiles in one batch.", _MODEL, buckets=_ITEMS)
        self.batch_padding = counter(
            "telescope_batch_padding", "Empty rows computed to fill a batch size.", _MODEL
        )
        self.batch_failures = counter("telescope_batch_failures", "Batches that failed.", _MODEL)
        self._model_info = Info(
            "telescope_model", "A loaded model, and where it runs.", _MODEL, registry=self.registry
        )
        self._model_active = gauge(
            "telescope_model_active",
            "1 for the version that answers requests for its name, 0 for other loaded ones.",
            _MODEL,
        )

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """A gauge whose value is computed at each scrape."""
        Gauge(f"telescope_{name}", documentation, registry=self.registry).set_function(value)

    def expect(self, route: str) -> None:
        """Create a route's counters at 0: Prometheus sees no increase when a counter first appears at 1."""
        for outcome in OUTCOMES:
            self.requests.labels(route, outcome)

    def loaded(self, models: Iterable[tuple[Mapping[str, str], bool]]) -> None:
        """Replace the loaded models: for each, where it runs and whether it is the active version of its name."""
        self._model_info.clear()
        self._model_active.clear()
        for info, active in models:
            about = dict(info)
            labels = [about.pop(name) for name in _MODEL]
            self._model_info.labels(*labels).info(about)
            self._model_active.labels(*labels).set(active)


class ModelMetrics:
    """The metrics with one model's labels; the batcher reports its batches here."""

    def __init__(self, metrics: Metrics, model: str, version: int) -> None:
        labels = (model, str(version))
        self._decisions = {
            (method, reason): metrics.decisions.labels(*labels, method, reason) for method, reason in DECISIONS
        }
        self._lines_read = {kept: metrics.lines_read.labels(*labels, kept) for kept in ("plain", "super_resolved")}
        self._received = metrics.images_received.labels(*labels)
        self._outcomes = {outcome: metrics.images.labels(*labels, outcome) for outcome in OUTCOMES}
        self._in_progress = metrics.images_in_progress.labels(*labels)
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        self._batch_seconds = metrics.batch_seconds.labels(*labels)
        self._batch_items = metrics.batch_items.labels(*labels)
        self._padding = metrics.batch_padding.labels(*labels)
        self._failures = metrics.batch_failures.labels(*labels)

    def received(self, images: int) -> None:
        self._received.inc(images)
        self._in_progress.inc(images)

    def ended(self, outcomes: Sequence[str]) -> None:
        """outcomes: one of OUTCOMES for each image received."""
        self._in_progress.dec(len(outcomes))
        for outcome in outcomes:
            self._outcomes[outcome].inc()

    def decided(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._decisions[decision.method, decision.reason].inc()

    def read(self, kept: Iterable[str]) -> None:
        for reading in kept:
            self._lines_read[reading].inc()

    def batch_ran(self, *, size: int, items: int, seconds: float, waits_s: Sequence[float]) -> None:
        self._batch_seconds.observe(seconds)
        self._batch_items.observe(items)
        self._padding.inc(size - items)
        for wait_s in waits_s:
            self._queue_seconds.observe(wait_s)

    def batch_failed(self) -> None:
        self._failures.inc()
