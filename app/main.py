"""The application: settings and models in, an ASGI app out.

uvicorn --factory app.main:create_app      # or, with draining and one-sentence errors: text-telescope serve
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.batching.capacity import Capacity
from app.demo.page import mount_demo
from app.http import docs, openapi, operations, page, super_resolve
from app.http.admin_port import AdminPort
from app.http.auth import Authentication
from app.http.doors import hubserving, kserve, paddlex
from app.http.doors.kserve_schemas import HEADER_LENGTH
from app.http.middleware import RequestMiddleware
from app.http.problems import add_problem_handlers
from app.ocr.reader import TextReader
from app.serving.loading import LoadedModel, load_models, open_model
from app.serving.registry import Load, ModelRegistry
from app.settings import Settings, load_settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import open_tracing

PADDLE = (hubserving, paddlex)
log = logging.getLogger("telescope")


def create_app(
    settings: Settings | None = None, loaded: Sequence[LoadedModel] | None = None, load: Load | None = None
) -> FastAPI:
    """The service as an ASGI application.

    settings: None reads the environment. loaded: the models to begin with, closed at shutdown; None loads the
    models of the settings at start-up. load: opens a model that is activated later; None opens it as at start-up.
    Raises StartupError for bad settings, unreadable keys or an unreadable model.
    """
    settings = settings or load_settings()
    authentication = Authentication(settings)
    tracing = open_tracing(settings)
    metrics = Metrics()
    reader = TextReader(settings, metrics)
    capacity = Capacity.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = ModelRegistry(
            loaded or load_models(settings),
            load=load or partial(open_model, settings),
            capacity=capacity,
            settings=settings,
            metrics=metrics,
            tracing=tracing,
        )
        app.state.models = models
        _add_gauges(metrics, models, capacity)
        for model in models.served:
            log.info("ready", extra={"ref": model.ref} | model.info())
        try:
            yield
        finally:
            await models.stop()
            await asyncio.to_thread(reader.close)
            await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Text Telescope",
        summary="Makes small, blurred text crops readable.",
        version="1",
        servers=docs.SERVERS,
        root_path_in_servers=False,  # the relative server fits behind any prefix
        docs_url=None,  # FastAPI's own page asks another host for its files
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be built from the Host header, which the client chooses
        lifespan=lifespan,
        telemetry=tracing.telemetry,  # type: ignore[arg-type]  # a dict with the keys of TelemetryConfig
    )
    app.state.settings = settings
    app.state.authentication = authentication
    app.state.capacity = capacity
    app.state.metrics = metrics
    app.state.reader = reader
    _add_routes(app, settings, authentication)
    for path in (*super_resolve.PATHS, page.PATH, *kserve.PATHS, *(door.PATH for door in PADDLE)):
        metrics.expect(path)
    _add_middleware(app, settings, metrics, capacity)
    add_problem_handlers(app, {door.PREFIX: door.error_form for door in (kserve, *PADDLE)})
    openapi.describe_problems(app)
    return app


def _add_routes(app: FastAPI, settings: Settings, authentication: Authentication) -> None:
    guards = [Depends(authentication)] if authentication.required else []
    no_key = openapi.NO_KEY if guards else None
    app.include_router(super_resolve.router, dependencies=guards)
    app.include_router(page.router, dependencies=guards)
    app.include_router(operations.router, dependencies=guards, responses=no_key)
    app.include_router(operations.admin, dependencies=[*guards, Depends(authentication.admin)], responses=no_key)
    app.include_router(operations.open_router)
    app.include_router(kserve.router, dependencies=guards, responses=kserve.NO_KEY if guards else None)
    app.include_router(kserve.open_router)
    for door in PADDLE:
        app.include_router(door.router, dependencies=guards, responses=door.NO_KEY if guards else None)
    docs.mount_docs(app)
    mount_demo(app, settings, guards)


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, capacity: Capacity) -> None:
    """The last one added sees a request first."""
    if settings.admin_port:
        app.add_middleware(AdminPort, port=settings.admin_port)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "X-API-Key", "X-Request-ID", "X-Request-Timeout-Ms", HEADER_LENGTH),
            expose_headers=("Retry-After", "Server-Timing", HEADER_LENGTH, *openapi.HEADERS),
        )
    app.add_middleware(RequestMiddleware, metrics=metrics, unsent_bytes=capacity.unsent_bytes)


def _add_gauges(metrics: Metrics, models: ModelRegistry, capacity: Capacity) -> None:
    metrics.ready.set_function(lambda: float(models.is_open))
    metrics.gauge(
        "queue_windows",
        "Work waiting for a batch, in windows: tiles of the trained size; a word is one to four.",
        lambda: models.queued_windows,
    )
    metrics.gauge("admitted_windows", "Work admitted and not finished, in windows.", lambda: capacity.windows.used)
    metrics.gauge("admitted_bytes", "Memory reserved for admitted requests.", lambda: capacity.decoded_bytes.used)
    metrics.gauge("body_bytes", "Bytes of request bodies held in memory.", lambda: capacity.body_bytes.used)
    metrics.gauge(
        "answer_bytes", "Bytes of responses that wait for their clients.", lambda: capacity.unsent_bytes.used
    )
