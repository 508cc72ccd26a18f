"""The endpoints beside super-resolution: models, health and metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.errors import NotReady
from app.openapi import NOT_READY, UNKNOWN_MODEL
from app.responses import model_info
from app.schemas import Health, ModelInfo, ModelList
from app.service import Service
from app.super_resolve import check_model

router = APIRouter()
operations = APIRouter()  # needs no API key


@router.get("/v1/models", summary="The served models", tags=["models"])
async def models(request: Request) -> ModelList:
    return ModelList(models=[model_info(request.app.state.service)])


@router.get("/v1/models/{name}", summary="One served model", tags=["models"], responses=UNKNOWN_MODEL)
async def model(request: Request, name: str) -> ModelInfo:
    """`name` or `name:version`."""
    service: Service = request.app.state.service
    check_model(name, service)
    return model_info(service)


@operations.head("/livez", include_in_schema=False)
@operations.get("/livez", summary="Is the process alive?", tags=["operations"], responses=NOT_READY)
async def livez(request: Request) -> Health:
    """200 also while overloaded or draining; 503 once the predictor hangs beyond hope, for a restart."""
    state = request.app.state
    stuck_s = state.service.batcher.hangs_for_s
    if stuck_s > state.settings.restart_after_s:
        raise NotReady(f"The predictor hangs for {stuck_s:.0f} s beyond its limit; restart the service.")
    return Health(status="ok")


@operations.head("/readyz", include_in_schema=False)
@operations.get("/readyz", summary="Does the service take requests?", tags=["operations"], responses=NOT_READY)
async def readyz(request: Request) -> Health:
    """200 while requests are taken; 503 while draining or when the predictor has stopped."""
    request.app.state.service.batcher.check_open()
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
