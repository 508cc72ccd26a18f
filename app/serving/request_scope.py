"""Around the work of every request: its images are counted, and it ends at its deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from app.batching.queue import EXPIRED, InferenceResult
from app.errors import DeadlineExceeded, ServiceError
from app.imaging.quality_gate import REFERENCE
from app.serving.runner import CropResult
from app.telemetry.metrics import ModelMetrics


@contextmanager
def counted(
    metrics: ModelMetrics, results: Sequence[CropResult | InferenceResult | ServiceError], *, images: int
) -> Iterator[None]:
    """Counts images in, and out by the results that the context adds, or by the error that ends it."""
    metrics.received(images)
    outcomes = ["failed"] * images
    try:
        yield
        outcomes = [result.outcome if isinstance(result, ServiceError) else "ok" for result in results]
        metrics.decided(
            REFERENCE if isinstance(result, InferenceResult) else result.decision
            for result in results
            if not isinstance(result, ServiceError)
        )
    except ServiceError as exc:
        outcomes = [exc.outcome] * images
        raise
    except asyncio.CancelledError:
        outcomes = ["cancelled"] * images
        raise
    finally:
        metrics.ended(outcomes)


@asynccontextmanager
async def until(deadline: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded at the deadline, on `time.monotonic`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError as exc:
        raise DeadlineExceeded(EXPIRED) from exc
