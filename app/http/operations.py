"""The endpoints beside super-resolution: models, health and metrics."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.errors import NotReady
from app.http.openapi import ACTIVATE, NOT_READY, UNKNOWN_MODEL
from app.http.responses import model_info
from app.http.schemas import Health, ModelInfo, ModelList
from app.serving.registry import ModelRegistry

router = APIRouter()
admin = APIRouter()  # needs an admin key
operations = APIRouter()  # needs no API key


@router.get("/v1/models", summary="The served models", tags=["models"])
async def models(request: Request) -> ModelList:
    """Every loaded model, the default first."""
    models: ModelRegistry = request.app.state.models
    return ModelList(models=[model_info(service, models) for service in models.served])


@router.get("/v1/models/{name}", summary="One served model", tags=["models"], responses=UNKNOWN_MODEL)
async def model(
    request: Request, name: Annotated[str, Path(description="`name` (its active version) or `name:version`.")]
) -> ModelInfo:
    models: ModelRegistry = request.app.state.models
    request.state.record.service = service = models.find(name)
    return model_info(service, models)


@admin.post("/v1/models/{name}/activate", summary="Switch to another version", tags=["models"], responses=ACTIVATE)
async def activate(
    request: Request,
    name: Annotated[str, Path(description="`name` (the newest version in the store) or `name:version`.")],
) -> ModelInfo:
    """Let a version answer the requests for its name, without dropping one; needs an admin key.

    A version that is not loaded is opened and warmed first, beside the active one, which answers what it has and
    is then closed. One that cannot be loaded is refused, and the active one goes on. A restart goes by
    TELESCOPE_MODEL.
    """
    models: ModelRegistry = request.app.state.models
    request.state.record.service = service = await models.activate(name)
    return model_info(service, models)


@operations.head("/livez", include_in_schema=False)
@operations.get("/livez", summary="Is the process alive?", tags=["operations"], responses=NOT_READY)
async def livez(request: Request) -> Health:
    """200 also while overloaded or draining; 503 once a predictor hangs beyond hope, for a restart."""
    state = request.app.state
    stuck_s = state.models.hangs_for_s
    if stuck_s > state.settings.restart_after_s:
        raise NotReady(f"A predictor hangs for {stuck_s:.0f} s beyond its limit; restart the service.")
    return Health(status="ok")


@operations.head("/readyz", include_in_schema=False)
@operations.get("/readyz", summary="Does the service take requests?", tags=["operations"], responses=NOT_READY)
async def readyz(request: Request) -> Health:
    """200 while requests are taken; 503 while draining or when a predictor hangs or has stopped."""
    request.app.state.models.check_open()
    return Health(status="ready")


@operations.get(
    "/metrics",
    summary="Prometheus metrics",
    tags=["operations"],
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
