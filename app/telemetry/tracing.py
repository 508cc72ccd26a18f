"""Tracing, where it is asked for: how a request's time was spent, sent to the operator's OpenTelemetry collector.

    request (FastAPI's own span; W3C traceparent honoured)
      crop
        decode | queue | inference -> link -> batch | encode

`Tracing` is tracing that is off: its hooks do nothing. `app/otel.py` is imported only when it is on.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from app.batching.queue import InferenceResult
from app.errors import StartupError
from app.settings import Settings

_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    @property
    def telemetry(self) -> dict[str, Any]:
        """For FastAPI: OTEL_ variables that a platform sets for everyone must not open connections here."""
        return {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}

    def span(self, name: str) -> AbstractContextManager[object]:
        """A part of the current request; an exception that leaves it is noted."""
        return _NOTHING

    def batch(self, *, size: int, items: int) -> AbstractContextManager[object]:
        """A batch of many requests; gives what `InferenceResult.batch` is to hold."""
        return _NOTHING

    def inferred(self, windows: Sequence[InferenceResult]) -> None:
        """How long a crop's windows waited and ran, and in which batches."""

    def close(self) -> None:
        """Send what is left. Blocking; bounded by the exporter's timeout."""


OFF = Tracing()


def open_tracing(settings: Settings) -> Tracing:
    """Raises StartupError naming the extra when it is asked for and not installed."""
    if settings.otlp_endpoint is None:
        return OFF
    try:
        from app.telemetry.otel import OpenTelemetry
    except ImportError as exc:
        raise StartupError(
            f"TELESCOPE_OTLP_ENDPOINT={settings.otlp_endpoint} needs the package {exc.name}: pip install "
            "'text-telescope[otel]'."
        ) from exc
    return OpenTelemetry(settings.otlp_endpoint)
