"""The application: settings and a predictor in, an ASGI app out.

uvicorn --factory app.main:create_app      # or, with draining and one-sentence errors: python -m app serve
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app import openapi, problems, super_resolve
from app.access import Access
from app.admin_port import AdminPort
from app.demo import mount_demo
from app.errors import InvalidParameter, ServiceError, StartupError
from app.judge import Calibration, Judge
from app.metrics import Metrics
from app.middleware import RequestMiddleware
from app.predictor import Predictor
from app.problems import Kind, problem_response
from app.routes import operations, router
from app.runtimes import open_runtime
from app.schemas import Problem
from app.service import Service
from app.settings import Settings, load_settings
from app.uploads import BodyBudget
from model_store.errors import ModelStoreError
from model_store.store import Artefact, ModelStore

log = logging.getLogger("telescope")


@dataclass(frozen=True)
class LoadedModel:
    """What the model store holds, the predictor that was opened and warmed on it, and who says when to use it."""

    artefact: Artefact
    predictor: Predictor
    judge: Judge = field(default_factory=Judge)


def load_model(settings: Settings) -> LoadedModel:
    """Open and warm the model to serve; takes seconds. Raises StartupError saying what to do."""
    try:
        artefact = ModelStore(settings.model_store).resolve(settings.model)
        judge = Judge(Calibration.of(artefact))
        predictor = Predictor(
            lambda: open_runtime(
                settings.runtime,
                artefact,
                device=settings.device,
                threads=settings.threads,
                precision=settings.precision,
            ),
            spec=artefact.manifest.pixels,
            batch_sizes=settings.batch_sizes,
        )
    except ModelStoreError as exc:
        raise StartupError(f"The model {settings.model!r} cannot be served: {exc}.") from exc
    return LoadedModel(artefact, predictor, judge)


def create_app(settings: Settings | None = None, model: LoadedModel | None = None) -> FastAPI:
    """The service as an ASGI application.

    settings: None reads the environment. model: None loads one at start-up; one that is given is
    closed at shutdown all the same. Raises StartupError for bad settings, unreadable keys or an unreadable model.
    """
    settings = settings or load_settings()
    access = Access(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loaded = model or load_model(settings)
        service = Service(loaded.artefact, loaded.predictor, loaded.judge, settings=settings, metrics=metrics)
        app.state.service = service
        app.state.model_headers = _model_headers(loaded.artefact)
        app.state.body_budget = BodyBudget(settings.max_upload_bytes, service.batcher.overloaded)
        _expose(app.state.body_budget, service, metrics)
        service.start()
        predictor = loaded.predictor
        where = {"runtime": predictor.runtime, "device": predictor.device, "precision": predictor.precision}
        log.info("ready", extra={"model": loaded.artefact.manifest.ref} | where)
        try:
            yield
        finally:
            await service.stop()

    app = FastAPIOffline(
        title="Text Telescope",
        summary="Makes small, blurred text crops readable.",
        version="1",
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be built from what the client sent as Host
        lifespan=lifespan,
    )
    metrics = Metrics()
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.access = access
    guards = [Depends(access)] if access.required else []
    app.include_router(super_resolve.router, dependencies=guards)
    app.include_router(router, dependencies=guards, responses=openapi.NO_KEY if guards else None)
    app.include_router(operations)
    mount_demo(app, settings, guards)
    _add_middleware(app, settings, metrics)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    _put_problem_schema(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
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
    app.add_middleware(RequestMiddleware, metrics=metrics)


def _model_headers(artefact: Artefact) -> dict[str, str]:
    manifest = artefact.manifest
    return {
        "X-Model-Name": manifest.name,
        "X-Model-Version": str(manifest.version),
        "X-Model-Digest": artefact.digest,
    }


def _expose(bodies: BodyBudget, service: Service, metrics: Metrics) -> None:
    manifest, batcher = service.artefact.manifest, service.batcher
    metrics.ready.set_function(lambda: float(batcher.is_open))
    metrics.model_info.info(
        {
            "model": manifest.name,
            "version": str(manifest.version),
            "digest": service.artefact.digest,
            "runtime": service.predictor.runtime,
            "device": service.predictor.device,
            "precision": service.predictor.precision,
        }
    )
    metrics.gauge(
        "queue_windows", "Windows waiting for a batch; a word is one or two.", lambda: batcher.queued_items
    )
    metrics.gauge("admitted_windows", "Windows admitted and not yet answered.", lambda: batcher.admitted_items)
    metrics.gauge("admitted_bytes", "Memory promised to admitted requests.", lambda: batcher.admitted_bytes)
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
