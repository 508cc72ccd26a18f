"""The application: settings and a predictor in, an ASGI app out.

uvicorn --factory app.main:create_app      # or, with draining and one-sentence errors: python -m app serve
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app.demo.page import mount_demo
from app.errors import InvalidParameter, ServiceError, StartupError
from app.http import openapi, problems, super_resolve
from app.http.admin_port import AdminPort
from app.http.auth import Access
from app.http.middleware import RequestMiddleware
from app.http.multipart import BodyBudget
from app.http.operations import admin, operations, router
from app.http.problems import Kind, problem_response
from app.http.schemas import Problem
from app.http.unsent import UnreadAnswers
from app.imaging.quality_gate import QualityGate
from app.inference.predictor import Predictor
from app.inference.runtimes import open_runtime
from app.serving.model_service import LoadedModel
from app.serving.registry import Load, ModelRegistry
from app.settings import Settings, load_settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import open_tracing
from model_store.calibration import Calibration
from model_store.errors import ModelStoreError
from model_store.store import Artefact, ModelStore

log = logging.getLogger("telescope")


def load_model(settings: Settings) -> LoadedModel:
    """Open and warm the default model; takes seconds. Raises StartupError saying what to do."""
    (model,) = load_models(settings.model_copy(update={"model": settings.model[:1]}))
    return model


def load_models(settings: Settings) -> list[LoadedModel]:
    """The same for all that are to be served, each once."""
    loaded: dict[str, LoadedModel] = {}  # by name:version, which may be listed under its name, too
    for ref in settings.model:
        try:
            artefact = ModelStore(settings.model_store).resolve(ref)
            if artefact.manifest.ref not in loaded:
                loaded[artefact.manifest.ref] = _open(settings, artefact)
        except ModelStoreError as exc:
            raise StartupError(f"The model {ref!r} cannot be served: {exc}.") from exc
    return list(loaded.values())


def _open(settings: Settings, artefact: Artefact) -> LoadedModel:
    gate = QualityGate(Calibration.of(artefact))
    return LoadedModel(artefact, open_predictor(settings, artefact, batch_sizes=settings.batch_sizes), gate)


def open_predictor(settings: Settings, artefact: Artefact, *, batch_sizes: Sequence[int]) -> Predictor:
    """The predictor that the settings ask for, opened and warmed. Raises StartupError saying what to do."""
    return Predictor(
        lambda: open_runtime(
            settings.runtime,
            artefact,
            device=settings.device,
            threads=settings.threads,
            precision=settings.precision,
        ),
        spec=artefact.manifest.pixels,
        batch_sizes=batch_sizes,
        input_sizes=artefact.manifest.input_sizes,
    )


def create_app(
    settings: Settings | None = None, loaded: Sequence[LoadedModel] | None = None, load: Load | None = None
) -> FastAPI:
    """The service as an ASGI application.

    settings: None reads the environment. loaded: the models to begin with, closed at shutdown; None loads those of
    the settings at start-up. load: opens a model that is activated later; None does it as at start-up.
    Raises StartupError for bad settings, unreadable keys or an unreadable model.
    """
    settings = settings or load_settings()
    access = Access(settings)
    tracing = open_tracing(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = ModelRegistry(
            loaded or load_models(settings),
            load=load or partial(_open, settings),
            settings=settings,
            metrics=metrics,
            tracing=tracing,
        )
        app.state.models = models
        app.state.body_budget = BodyBudget(
            settings.max_upload_bytes, lambda what: models.default.batcher.overloaded(what)
        )
        _expose(app.state.body_budget, models, metrics)
        for service in models.served:
            log.info("ready", extra={"ref": service.ref} | service.info())
        try:
            yield
        finally:
            await models.stop()
            await asyncio.to_thread(tracing.close)

    app = FastAPIOffline(
        title="Text Telescope",
        summary="Makes small, blurred text crops readable.",
        version="1",
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be built from what the client sent as Host
        lifespan=lifespan,
        telemetry=tracing.telemetry,
    )
    metrics = Metrics()
    unread = UnreadAnswers(max_bytes=settings.max_answer_bytes, timeout_s=settings.answer_timeout_s)
    metrics.gauge("answer_bytes", "Bytes of answers that wait for their clients.", lambda: unread.held)
    app.state.settings = settings
    app.state.unread_answers = unread
    app.state.metrics = metrics
    app.state.access = access
    guards = [Depends(access)] if access.required else []
    pictures = super_resolve.routes(guards)
    app.router.routes[:0] = pictures  # looked at first
    for route in pictures:
        metrics.expect(route.path)
    no_key = openapi.NO_KEY if guards else None
    app.include_router(router, dependencies=guards, responses=no_key)
    app.include_router(admin, dependencies=[*guards, Depends(access.admin)], responses=no_key)
    app.include_router(operations)
    mount_demo(app, settings, guards)
    _add_middleware(app, settings, metrics, unread)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    _put_problem_schema(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, unread: UnreadAnswers) -> None:
    """The last one added sees a request first."""
    if settings.admin_port:
        app.add_middleware(AdminPort, port=settings.admin_port)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "X-API-Key", "X-Request-ID", "X-Request-Timeout-Ms"),
            expose_headers=("Retry-After", "Server-Timing", *openapi.HEADERS),
        )
    app.add_middleware(RequestMiddleware, metrics=metrics, unread=unread)


def _expose(bodies: BodyBudget, models: ModelRegistry, metrics: Metrics) -> None:
    capacity = models.capacity
    metrics.ready.set_function(lambda: float(models.is_open))
    metrics.gauge(
        "queue_windows",
        "Work waiting for a batch, in windows: tiles of the trained size; a word is one to four.",
        lambda: models.queued_windows,
    )
    metrics.gauge(
        "admitted_windows", "Work admitted and not yet answered, in windows.", lambda: capacity.windows.used
    )
    metrics.gauge("admitted_bytes", "Memory promised to admitted requests.", lambda: capacity.decoded_bytes.used)
    metrics.gauge("body_bytes", "Bytes of request bodies held in memory.", lambda: bodies.held)


def _tell(
    request: Request, kind: Kind, *, detail: str, outcome: str, headers: dict[str, str] | None
) -> JSONResponse:
    record = request.state.record
    record.code, record.outcome = kind.code, outcome
    return problem_response(kind, detail=detail, request_id=record.request_id, headers=headers)


async def _service_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ServiceError)
    kind, headers = problems.KINDS[type(exc)], problems.headers_of(exc)
    return _tell(request, kind, detail=str(exc), outcome=exc.outcome, headers=headers)


async def _validation_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    detail = f"{'.'.join(map(str, first['loc']))} is {str(first['input'])[:100]!r}: {first['msg']}."
    return await _service_error(request, InvalidParameter(detail))


async def _http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    kind = problems.HTTP_KINDS.get(exc.status_code) or Kind(exc.status_code, "http_error", str(exc.detail), "")
    detail = f"{request.method} {request.url.path}: {exc.detail}."
    return _tell(request, kind, detail=detail, outcome="bad_input", headers=dict(exc.headers or {}))


def _put_problem_schema(app: FastAPI) -> None:
    """The error examples point at the Problem schema, which no endpoint returns by its signature."""
    make = app.openapi

    def openapi() -> dict[str, object]:
        schema = make()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):  # ours are problems
            schemas.pop(unused, None)
        for path in schema["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
