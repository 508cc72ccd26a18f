"""The two ways of reading a page, for `text-telescope read`: in this process, or by a service.

Both give the JSON of POST /v1/super-resolve/page, and raise PageFailed for a page that cannot be read.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.batching.capacity import Capacity
from app.bulk.read import PageFailed, PageReader
from app.bulk.service import connected
from app.errors import NotInstalled, ServiceError, StartupError
from app.http.accept import Representation
from app.http.middleware import RequestRecord
from app.http.page import render
from app.imaging.quality_gate import Mode, RoutingPolicy
from app.ocr.reader import TextReader
from app.serving.loading import LoadedModel, load_model
from app.serving.model_service import ServedModel, Upload
from app.serving.page_reading import Layout, PageReadingOptions
from app.settings import Settings
from app.telemetry.logs import tell_loading
from app.telemetry.metrics import Metrics

TIMEOUT_S = 3600.0  # of one page; long, since no client waits
REFUSALS = {  # of a service, for every page alike
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True)
class ReadOptions:
    mode: Mode
    layout: Layout


@contextmanager
def by_service(
    url: str, options: ReadOptions, *, model: str | None = None, **local: object
) -> Iterator[PageReader]:
    """Raises StartupError, also later, when the service refuses every page alike."""
    with connected(url, local) as client:
        from text_telescope import TelescopeError, TimedOut

        def read(data: bytes) -> dict[str, Any]:
            try:
                found = client.page(data, mode=options.mode, layout=options.layout, model=model)
            except TelescopeError as exc:
                of_page = exc.problem and exc.problem.status not in REFUSALS
                if of_page or isinstance(exc, TimedOut):
                    raise PageFailed(str(exc)) from exc
                raise
            return dict(found.response)

        yield read


@contextmanager
def in_process(
    settings: Settings, options: ReadOptions, load: Callable[[Settings], LoadedModel] = load_model
) -> Iterator[PageReader]:
    """By the steps of the service, without HTTP. Raises StartupError if text cannot be read here."""
    metrics = Metrics()
    try:
        reader = TextReader(settings.model_copy(update={"ocr": "on"}), metrics)
    except NotInstalled as exc:
        raise StartupError(str(exc)) from exc
    wanted = PageReadingOptions(
        read=True, pictures=False, layout=options.layout, policy=RoutingPolicy(options.mode)
    )
    with ThreadPoolExecutor(thread_name_prefix="codec") as workers, asyncio.Runner() as loop:
        tell_loading(settings.model[:1])
        model = ServedModel(
            load(settings), capacity=Capacity.of(settings), workers=workers, settings=settings, metrics=metrics
        )
        loop.run(_start(model))

        async def page(data: bytes) -> dict[str, Any]:
            record = RequestRecord(request_id="", model=model)
            found = await model.super_resolve_page(
                Upload(data),
                wanted,
                "png",
                reader=reader,
                deadline=time.monotonic() + TIMEOUT_S,
                timings=record.timings,
            )
            body: dict[str, Any] = json.loads(bytes(render(record, Representation("json", "png"), found).body))
            return body

        def read(data: bytes) -> dict[str, Any]:
            try:
                return loop.run(page(data))
            except Exception as exc:  # a defect met on one page must not stop the others
                raise PageFailed(str(exc) if isinstance(exc, ServiceError) else repr(exc)) from exc

        try:
            yield read
        finally:
            loop.run(model.stop())
            reader.close()


async def _start(model: ServedModel) -> None:
    model.start()
